package events

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// Reasons for which JSON is unreadable.
const (
	reasonSyntax       = "broken JSON"
	reasonDepth        = "JSON is nested deeper than 64 levels"
	reasonValues       = "JSON has more than 2097152 values"
	reasonTwice        = "name occurs twice in a JSON object"
	reasonAbsurdNumber = "number is too large, too small or too long"
)

// decodeJSON reads one complete JSON value into the Go values of [Event.Fields]. It is stricter than encoding/json,
// which takes the last of two equal names, replaces invalid UTF-8, and nests 10,000 levels deep. Strings share memory
// with text.
func decodeJSON(text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, &Unreadable{Reason: reasonUTF8}
	}
	d := decoder{text: text}
	d.space()
	value := d.value(0)
	d.space()
	if d.reason == "" && d.pos < len(d.text) {
		d.reason = reasonSyntax
	}
	if d.reason == "" && d.absurd {
		d.reason = reasonAbsurdNumber
	}
	if d.reason != "" {
		return nil, &Unreadable{Reason: d.reason}
	}
	return value, nil
}

// decoder is a position in a JSON text. The first reason stays; after it nothing is read any more.
type decoder struct {
	text   string
	pos    int
	reason string
	values int
	absurd bool // there was a number beyond the bounds, which matters only where the text is JSON
}

func (d *decoder) fail(reason string) any {
	if d.reason == "" {
		d.reason = reason
	}
	d.pos = len(d.text)
	return nil
}

func (d *decoder) space() {
	for d.pos < len(d.text) {
		switch d.text[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// next gives the byte at the position without passing it, zero at the end: no JSON token has a zero byte.
func (d *decoder) next() byte {
	if d.pos >= len(d.text) {
		return 0
	}
	return d.text[d.pos]
}

func (d *decoder) value(depth int) any {
	if d.values++; d.values > MaxValues {
		return d.fail(reasonValues)
	}
	switch c := d.next(); {
	case c == '{':
		return d.object(depth + 1)
	case c == '[':
		return d.array(depth + 1)
	case c == '"':
		return d.str()
	case c == '-' || '0' <= c && c <= '9':
		return d.number()
	case c == 't':
		return d.word("true", true)
	case c == 'f':
		return d.word("false", false)
	case c == 'n':
		return d.word("null", nil)
	}
	return d.fail(reasonSyntax)
}

func (d *decoder) word(word string, value any) any {
	if !strings.HasPrefix(d.text[d.pos:], word) {
		return d.fail(reasonSyntax)
	}
	d.pos += len(word)
	return value
}

func (d *decoder) object(depth int) any {
	if depth > MaxDepth {
		return d.fail(reasonDepth)
	}
	d.pos++ // {
	members := map[string]any{}
	if d.space(); d.next() == '}' {
		d.pos++
		return members
	}
	for d.reason == "" {
		if d.space(); d.next() != '"' {
			return d.fail(reasonSyntax)
		}
		name := d.str()
		if d.space(); d.next() != ':' {
			return d.fail(reasonSyntax)
		}
		d.pos++
		d.space()
		before := len(members)
		members[name] = d.value(depth)
		if len(members) == before {
			return d.fail(reasonTwice)
		}
		d.space()
		switch d.next() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			return members
		default:
			return d.fail(reasonSyntax)
		}
	}
	return nil
}

func (d *decoder) array(depth int) any {
	if depth > MaxDepth {
		return d.fail(reasonDepth)
	}
	d.pos++ // [
	elements := []any{}
	if d.space(); d.next() == ']' {
		d.pos++
		return elements
	}
	for d.reason == "" {
		d.space()
		elements = append(elements, d.value(depth))
		d.space()
		switch d.next() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			return elements
		default:
			return d.fail(reasonSyntax)
		}
	}
	return nil
}

func (d *decoder) str() string {
	d.pos++ // "
	start := d.pos
	for ; d.pos < len(d.text); d.pos++ {
		switch c := d.text[d.pos]; {
		case c == '"':
			d.pos++
			return d.text[start : d.pos-1]
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			d.fail(reasonSyntax)
			return ""
		}
	}
	d.fail(reasonSyntax)
	return ""
}

// escaped reads on in a string that began at start, from its first backslash.
func (d *decoder) escaped(start int) string {
	b := []byte(d.text[start:d.pos])
	for d.pos < len(d.text) {
		c := d.text[d.pos]
		switch {
		case c == '"':
			d.pos++
			return string(b)
		case c < ' ':
			d.fail(reasonSyntax)
			return ""
		case c != '\\':
			b = append(b, c)
			d.pos++
			continue
		}
		d.pos++ // backslash
		switch c := d.next(); c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			b = utf8.AppendRune(b, d.unicode())
			continue
		default:
			d.fail(reasonSyntax)
			return ""
		}
		d.pos++
	}
	d.fail(reasonSyntax)
	return ""
}

// unicode reads what follows the backslash of an escape: u with four hexadecimal digits or, for a surrogate pair, two such
// escapes. A surrogate alone is no text.
func (d *decoder) unicode() rune {
	r := d.hex()
	if !utf16.IsSurrogate(r) {
		return r
	}
	if strings.HasPrefix(d.text[d.pos:], `\u`) {
		d.pos++
		if r = utf16.DecodeRune(r, d.hex()); r != utf8.RuneError {
			return r
		}
	}
	d.fail(reasonUTF8)
	return 0
}

func (d *decoder) hex() rune {
	if d.next() == 'u' && d.pos+5 <= len(d.text) {
		if r, err := strconv.ParseUint(d.text[d.pos+1:d.pos+5], 16, 16); err == nil {
			d.pos += 5
			return rune(uint16(r))
		}
	}
	d.fail(reasonSyntax)
	return 0
}

func (d *decoder) number() any {
	start := d.pos
	if d.next() == '-' {
		d.pos++
	}
	if d.next() == '0' {
		d.pos++
	} else if !d.digits() {
		return d.fail(reasonSyntax)
	}
	if d.next() == '.' {
		d.pos++
		if !d.digits() {
			return d.fail(reasonSyntax)
		}
	}
	if c := d.next(); c == 'e' || c == 'E' {
		d.pos++
		if c := d.next(); c == '+' || c == '-' {
			d.pos++
		}
		if !d.digits() {
			return d.fail(reasonSyntax)
		}
	}
	number := json.Number(d.text[start:d.pos])
	d.absurd = d.absurd || absurd(string(number))
	return number
}

func (d *decoder) digits() bool {
	start := d.pos
	for c := d.next(); '0' <= c && c <= '9'; c = d.next() {
		d.pos++
	}
	return d.pos > start
}

// absurd tells whether a JSON number is beyond the bounds of decimal. Only long texts and exponents can be.
func absurd(number string) bool {
	if len(number) <= 64 && !strings.ContainsAny(number, "eE") {
		return false
	}
	_, err := decimal.Parse(number)
	return err != nil
}
