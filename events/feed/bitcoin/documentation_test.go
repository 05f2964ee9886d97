package bitcoin

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestFieldsAreDocumented compares the field names of the events with docs/bitcoin-events.md.
func TestFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/bitcoin-events.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range []any{Block{}, Transaction{}, Input{}, Spent{}, Output{}} {
		for field := range reflect.TypeOf(event).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			if !regexp.MustCompile(`\b` + name + `\b`).Match(text) {
				t.Errorf("field %s of %T is not documented", name, event)
			}
		}
	}
}
