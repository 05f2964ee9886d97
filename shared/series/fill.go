package series

import (
	"fmt"
	"slices"
	"strings"
)

// Fill says what is shown for a window without a bucket.
type Fill uint8

// The ways of filling.
const (
	None     Fill = iota + 1 // nothing
	Zero                     // the value 0
	Previous                 // the value of the last bucket before it, or its level; nothing before the first one
)

var fillNames = []string{None: "none", Zero: "zero", Previous: "previous"}

// FillNames gives the text forms of all ways of filling.
func FillNames() []string { return slices.Clone(fillNames[None:]) }

// ParseFill reads the text form; the empty text is [None].
func ParseFill(text string) (Fill, error) {
	if text == "" {
		return None, nil
	}
	for fill := None; fill <= Previous; fill++ {
		if fill.String() == text {
			return fill, nil
		}
	}
	return 0, fmt.Errorf("unknown fill %q: want one of %s", text, strings.Join(FillNames(), ", "))
}

// String gives the text form.
func (f Fill) String() string {
	if f >= None && f <= Previous {
		return fillNames[f]
	}
	return fmt.Sprintf("Fill(%d)", uint8(f))
}

// MarshalText gives the text form.
func (f Fill) MarshalText() ([]byte, error) {
	if f < None || f > Previous {
		return nil, fmt.Errorf("unknown fill %d", uint8(f))
	}
	return []byte(f.String()), nil
}
