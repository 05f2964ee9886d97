package metric

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxDimensionsLength is the length in bytes of the longest set of dimensions.
const maxDimensionsLength = 1024

type dimension struct {
	name       string
	expression *expression
}

// encodeDimensions evaluates dimensions, which are sorted by name, and gives them as a bucket.Key holds them. The text
// of an error begins where "dimensions" ends.
func encodeDimensions(dimensions []dimension, s *scope) (string, error) {
	if len(dimensions) == 0 {
		return "{}", nil
	}
	var space [256]byte
	encoded := append(space[:0], '{')
	for i, d := range dimensions {
		value, err := d.expression.evaluate(s)
		if err != nil {
			return "", fmt.Errorf(".%s: %w", d.name, err)
		}
		text, err := canonicalText(value)
		if err != nil {
			return "", fmt.Errorf(".%s: %w", d.name, err)
		}
		if len(text) > maxDimensionsLength {
			return "", errTooLarge
		}
		if i > 0 {
			encoded = append(encoded, ',')
		}
		encoded = appendQuoted(encoded, d.name)
		encoded = append(encoded, ':')
		encoded = appendQuoted(encoded, text)
	}
	encoded = append(encoded, '}')
	if len(encoded) > maxDimensionsLength {
		return "", errTooLarge
	}
	return string(encoded), nil
}

var errTooLarge = fmt.Errorf(": longer than %d bytes", maxDimensionsLength)

// EncodeDimensions gives a set of dimensions as a bucket's key holds it: a JSON object, names sorted, no white space.
func EncodeDimensions(dimensions map[string]string) string {
	encoded := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(dimensions)) {
		if i > 0 {
			encoded = append(encoded, ',')
		}
		encoded = appendQuoted(encoded, name)
		encoded = append(encoded, ':')
		encoded = appendQuoted(encoded, dimensions[name])
	}
	return string(append(encoded, '}'))
}

// DecodeDimensions reads what [EncodeDimensions] gives, in any order of names and with any white space.
func DecodeDimensions(encoded string) (map[string]string, error) {
	var dimensions map[string]string
	if err := json.Unmarshal([]byte(encoded), &dimensions); err != nil {
		return nil, fmt.Errorf("decode dimensions: %w", err)
	}
	if dimensions == nil {
		return nil, errors.New("decode dimensions: null is no set of dimensions")
	}
	return dimensions, nil
}

// appendQuoted appends a JSON string, in which nothing is escaped that need not be, apart from U+2028 and U+2029.
func appendQuoted(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return appendEscaped(b, text)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

func appendEscaped(b []byte, text string) []byte {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(strings.ToValidUTF8(text, "\ufffd")); err != nil {
		panic("metric: encode a text: " + err.Error()) // texts always have an encoding
	}
	return append(b, bytes.TrimSuffix(buffer.Bytes(), []byte{'\n'})...)
}
