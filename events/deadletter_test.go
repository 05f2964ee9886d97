package events_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

func TestUndelivered(t *testing.T) {
	t.Parallel()
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	tests := map[string]struct{ data, want string }{
		"nothing":           {"", ""},
		"text":              {encoded("not available now\n"), "not available now"},
		"lines":             {encoded("dispatch error: Post\r\n\t\"http://x\""), `dispatch error: Post "http://x"`},
		"as it is":          {"Internal Server Error: no room", "Internal Server Error: no room"},
		"word":              {"Unavailable.", "Unavailable."},
		"word of four":      {"gone", "gone"},
		"cut":               {encoded(strings.Repeat("größer ", 200))[:1024], strings.TrimSpace(strings.Repeat("größer ", 85) + "gr")},
		"cut anywhere":      {encoded("no room")[:7], "no"},
		"binary":            {encoded("\x00\x01\x02"), "AAEC"},
		"escapes":           {"a\x1b[31mred\u202e", "a\uFFFD[31mred\uFFFD"},
		"colours":           {encoded("panic: \x1b[31mno room\x1b[0m"), "panic: \uFFFD[31mno room\uFFFD[0m"},
		"header of a mail":  {encoded("x\r\nBcc: all@example.com"), "x Bcc: all@example.com"},
		"no valid encoding": {"\xff\xfe", "\uFFFD"},
	}
	for name, tt := range tests {
		e := event.New()
		e.SetExtension(events.ExtensionErrorDest, "http://counter-small.blockchain-metrics.svc.cluster.local")
		e.SetExtension(events.ExtensionErrorCode, 503)
		e.SetExtension(events.ExtensionErrorData, tt.data)
		got, ok := events.ParseUndelivered(e)
		want := events.Undelivered{
			Destination: "http://counter-small.blockchain-metrics.svc.cluster.local", Code: "503", Answer: tt.want,
		}
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%s: %v (-want +got)\n%s", name, ok, diff)
		}
	}
	if got, ok := events.ParseUndelivered(event.New()); ok {
		t.Errorf("an event that was delivered is a dead letter: %+v", got)
	}
}

// TestDeadLettersAreKnatives: what is made as Knative does is read again, but for what it cuts.
func TestDeadLettersAreKnatives(t *testing.T) {
	t.Parallel()
	e := request.CloudEvent("scheduler", appended)
	want := events.Undelivered{Destination: "http://here:8080", Code: "500", Answer: "dispatch error: " + strings.Repeat("x", 2000)}
	letter := want.DeadLetter(e)
	if err := letter.Validate(); err != nil {
		t.Fatal(err)
	}
	got, ok := events.ParseUndelivered(letter)
	want.Answer = want.Answer[:768]
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("%v (-want +got)\n%s", ok, diff)
	}
	if _, ok := events.ParseUndelivered(e); ok || letter.ID() != e.ID() {
		t.Error("the event itself was changed, or its id")
	}
}
