package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// Texts gives the JSON objects that the events of a delivery were read from, in the order of [Content.Events]. The delivery
// must be one that Open has read; a revert has none.
func (d Delivery) Texts() []json.RawMessage {
	switch d.Type {
	case TypeEvent:
		return []json.RawMessage{d.Data}
	case TypeBlock:
		texts := make([]json.RawMessage, 1)
		gjson.ParseBytes(d.Data).ForEach(func(name, value gjson.Result) bool {
			if name.Str == kindBlock {
				texts[0] = json.RawMessage(value.Raw)
				return true
			}
			value.ForEach(func(_, event gjson.Result) bool {
				texts = append(texts, json.RawMessage(event.Raw))
				return true
			})
			return true
		})
		return texts
	}
	return nil
}

// Storable gives an object in a form that PostgreSQL's jsonb takes, and which DecodeFields reads as it reads the object
// itself. Where there is none, since the object has NUL characters, exact is the object, and the form has U+FFFD for those.
func Storable(object json.RawMessage) (form, exact json.RawMessage, err error) {
	if !bytes.Contains(object, []byte(`\u`)) { // nothing else of what jsonb refuses can be read by Open
		return object, nil, nil
	}
	value, err := decodeJSON(string(object))
	if err != nil {
		return nil, nil, fmt.Errorf("read fields: %w", err)
	}
	hasNUL := false
	value = withoutNUL(value, &hasNUL)
	if form, err = marshal(value); err != nil {
		return nil, nil, fmt.Errorf("write fields: %w", err)
	}
	if hasNUL {
		exact = object
	}
	return form, exact, nil
}

func withoutNUL(value any, found *bool) any {
	replace := func(text string) string {
		if strings.IndexByte(text, 0) < 0 {
			return text
		}
		*found = true
		return strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	switch v := value.(type) {
	case string:
		return replace(v)
	case []any:
		for i := range v {
			v[i] = withoutNUL(v[i], found)
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for name, member := range v {
			clean[replace(name)] = withoutNUL(member, found)
		}
		return clean
	}
	return value
}

// DecodeFields reads the object of an event into what Open made of it: [Event.Fields].
func DecodeFields(object string) (map[string]any, error) {
	value, err := decodeJSON(object)
	if err != nil {
		return nil, fmt.Errorf("read fields: %w", err)
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read fields: %w", &Unreadable{Reason: reasonSyntax})
	}
	delete(fields, FieldType)
	delete(fields, FieldChain)
	return fields, nil
}

// DecodeField reads the value of a field as DecodeFields reads it within its object.
func DecodeField(value string) (any, error) {
	field, err := decodeJSON(value)
	if err != nil {
		return nil, fmt.Errorf("read field: %w", err)
	}
	return field, nil
}
