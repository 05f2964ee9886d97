package coverage

import "fmt"

// State is what is known of a window.
type State uint8

// The states of a window.
const (
	Complete State = iota + 1 // everything has come
	Empty                     // everything has come, and nothing happened
	Missing                   // a hole lies in it
	Unknown                   // nobody says whether everything has come
)

var stateNames = []string{Complete: "complete", Empty: "empty", Missing: "missing", Unknown: "unknown"}

// String gives the text form.
func (s State) String() string {
	if s >= Complete && s <= Unknown {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText gives the text form.
func (s State) MarshalText() ([]byte, error) {
	if s < Complete || s > Unknown {
		return nil, fmt.Errorf("unknown state %d", uint8(s))
	}
	return []byte(s.String()), nil
}
