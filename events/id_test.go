package events_test

import (
	"math"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
)

func TestParseIDRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "-", "1", "1-", "-1", "+1-1", "1-+1", "1-2-3", "a-1", "18446744073709551616-0", " 1-1", "1-1 "} {
		if id, err := events.ParseID(text); err == nil {
			t.Errorf("%q was read as %s", text, id)
		}
	}
}

func FuzzID(f *testing.F) {
	f.Add(uint64(0), uint64(1), uint64(0), uint64(2))
	f.Add(uint64(math.MaxUint64), uint64(0), uint64(9), uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, major, minor, otherMajor, otherMinor uint64) {
		id, other := events.ID{Major: major, Minor: minor}, events.ID{Major: otherMajor, Minor: otherMinor}
		for _, text := range []string{id.String(), id.Sequence()} {
			if read, err := events.ParseID(text); err != nil || read != id {
				t.Fatalf("%q was read as %s, %v", text, read, err)
			}
		}
		if byText := strings.Compare(id.Sequence(), other.Sequence()); byText != id.Compare(other) {
			t.Fatalf("text order %d, id order %d of %s, %s", byText, id.Compare(other), id, other)
		}
	})
}
