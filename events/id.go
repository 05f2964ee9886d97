package events

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ID is the id of a stream entry. Redis writes it as two unsigned 64-bit integers in decimal, "<major>-<minor>". In an
// open stream major is the append time in milliseconds since 1970; in a feed's stream it is the epoch and minor the
// height plus one. The zero ID, "0-0", lies before every entry.
type ID struct {
	Major, Minor uint64
}

// ParseID reads the form that Redis prints, "<major>-<minor>", both parts in decimal.
func ParseID(text string) (ID, error) {
	major, minor, found := strings.Cut(text, "-")
	if !found {
		return ID{}, fmt.Errorf("parse entry id %.60q: no hyphen", text)
	}
	hi, err := parsePart(major)
	if err != nil {
		return ID{}, fmt.Errorf("parse entry id %.60q: %w", text, err)
	}
	lo, err := parsePart(minor)
	if err != nil {
		return ID{}, fmt.Errorf("parse entry id %.60q: %w", text, err)
	}
	return ID{Major: hi, Minor: lo}, nil
}

func parsePart(digits string) (uint64, error) {
	if digits == "" || digits[0] < '0' || digits[0] > '9' { // ParseUint takes a sign
		return 0, fmt.Errorf("%.60q is no decimal number", digits)
	}
	return strconv.ParseUint(digits, 10, 64)
}

// String gives the form of Redis, "<major>-<minor>".
func (id ID) String() string {
	return strconv.FormatUint(id.Major, 10) + "-" + strconv.FormatUint(id.Minor, 10)
}

// Sequence gives both parts with twenty digits each, so that text order is id order. ParseID reads it too.
func (id ID) Sequence() string { return string(id.appendSequence(nil)) }

func (id ID) appendSequence(b []byte) []byte {
	return append20(append(append20(b, id.Major), '-'), id.Minor)
}

// append20 appends twenty decimal digits.
func append20(b []byte, n uint64) []byte {
	from := len(b)
	b = append(b, "00000000000000000000"...)
	for i := len(b) - 1; i >= from; i-- {
		b[i] += byte(n % 10)
		n /= 10
	}
	return b
}

// Compare is negative where id lies before other in the stream, positive where it lies after it, and zero for the same id.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Major, other.Major), cmp.Compare(id.Minor, other.Minor))
}

// Next is the least id that lies after id. There must be one: no entry has the greatest of all ids.
func (id ID) Next() ID {
	if id.Minor == math.MaxUint64 {
		return ID{Major: id.Major + 1}
	}
	return ID{Major: id.Major, Minor: id.Minor + 1}
}

// IsZero tells whether id is 0-0, which lies before every entry.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText gives the form of Redis.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of Redis.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
