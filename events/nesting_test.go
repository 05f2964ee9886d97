package events

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestNesting wants the same bound on depth as that of encoding/json, whatever stands in texts.
func TestNesting(t *testing.T) {
	t.Parallel()
	nested := func(levels int, inner string) string {
		return strings.Repeat(`[{"a]}":`, levels/2) + inner + strings.Repeat(`}]`, levels/2)
	}
	wide := "[" + strings.Repeat(`{"a":["[{","\\",1]},`, 20_000) + "0]"
	for name, text := range map[string]string{
		"at the bound": nested(maxNesting, `"[[\"[["`), "beyond it": nested(maxNesting+2, "1"), "wide": wide, "broken": wide + "]",
		"closed in a text": nested(maxNesting, `["`+strings.Repeat("]", maxNesting)+`",[]]`), "unclosed": strings.Repeat("[", 1_000_000),
		"open text": wide[:len(wide)-2] + `"` + strings.Repeat("[", 20_000),
	} {
		if got, want := validJSON([]byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("%s: valid %t, want %t", name, got, want)
		}
	}
}
