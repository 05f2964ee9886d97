package events_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

// TestDocumentationShowsWhatIsSent: docs/events.md has an example of each type that passes the Broker, as this package makes it.
func TestDocumentationShowsWhatIsSent(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, example := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		var ce event.Event
		if err := json.Unmarshal([]byte(example[1]), &ce); err != nil {
			t.Fatalf("%s\n%v", example[1], err)
		}
		if err := validate(t, schemaOf(t, ce.Type()), ce.Data()); err != nil {
			t.Errorf("%s\n%v", ce, err)
		}
		shown[ce.Type()] = true
		if ce.Type() == events.TypeRunRequested {
			var request events.RunRequest
			if err := json.Unmarshal(ce.Data(), &request); err != nil {
				t.Fatal(err)
			}
			same(t, ce, request.CloudEvent("scheduler", ce.Time()))
			continue
		}
		n := events.Notice{Type: ce.Type(), Time: ce.Time(), Details: ce.Data()}
		for from, into := range map[string]any{ce.ID(): &n.ID, string(ce.Data()): &n.Subject} {
			if err := json.Unmarshal([]byte(from), into); err != nil {
				t.Fatal(err)
			}
		}
		var of struct {
			RunID int64 `json:"run_id"`
		}
		if err := json.Unmarshal(ce.Data(), &of); err != nil {
			t.Fatal(err)
		}
		n.RunID = of.RunID
		made, err := n.CloudEvent()
		if err != nil {
			t.Fatal(err)
		}
		same(t, ce, made)
	}
	for _, ceType := range events.Types() {
		if ceType != events.TypePing && !strings.Contains(ceType, ".stream.") && !shown[ceType] {
			t.Errorf("there is no example of %s", ceType)
		}
	}
}

// same compares two events, whatever the order and the white space of their data.
func same(t *testing.T, shown, made event.Event) {
	t.Helper()
	if diff := cmp.Diff(decoded(t, shown), decoded(t, made)); diff != "" {
		t.Errorf("the example of %s (-shown +made)\n%s", shown.Type(), diff)
	}
}

func decoded(t *testing.T, ce event.Event) (value any) {
	t.Helper()
	text, err := json.Marshal(ce)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}
