package main_test

import (
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
)

// TestTroublesAreShown applies an entry that nobody can read and an event that a metric fails on, among good ones.
func TestTroublesAreShown(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	for _, args := range [][]string{{"dead-letter", "list"}, {"metric", "errors"}} {
		if r := o.run(t, args...); r.code != 0 || r.out != "" || !strings.HasPrefix(r.errors, "no ") {
			t.Errorf("%s without trouble: %+v", strings.Join(args, " "), r)
		}
	}
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	entries := chain(t, 2)
	unreadable := events.Entry{ID: events.ID{Minor: 3}, Fields: []events.Field{
		{Name: "colour", Value: "red\x1b[31m"}, {Name: "noise", Value: strings.Repeat("x", 300) + "\xff"},
	}}
	strange := flat(events.ID{Major: 1, Minor: 1}, "transfer", "value", "much", "kind", "normal", "from", "alice")
	entries = append(entries, unreadable, strange)
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries)

	list := o.must(t, "dead-letter", "list", "--stream", testStream)
	if !strings.Contains(list, testStream+"    0-3  ") || !strings.HasSuffix(list, "  invalid UTF-8\n") {
		t.Errorf("dead-letter list:\n%s", list)
	}
	if other := o.run(t, "dead-letter", "list", "--stream", "other"); other.out != "" {
		t.Errorf("of another stream:\n%s", other.out)
	}
	shown := o.must(t, "dead-letter", "show", testStream, "0-3")
	for _, want := range []string{"\ninvalid UTF-8\n", "colour  red\uFFFD[31m", strings.Repeat("x", 200) + "…"} {
		if !strings.Contains(shown, want) {
			t.Errorf("dead-letter show lacks %q:\n%s", want, shown)
		}
	}
	if text := o.must(t, "dead-letter", "show", testStream, "0-3", "--output", "json"); !strings.Contains(text, `"reason": "invalid UTF-8"`) {
		t.Errorf("as JSON:\n%s", text)
	}
	o.refused(t, 1, "chainmetrics: no dead letter: 0-1 of "+testStream+"\n  see which there are: "+o.binary+" dead-letter list\n",
		"dead-letter", "show", testStream, "0-1")

	failures := o.must(t, "metric", "errors")
	if !strings.Contains(failures, "where: > does not take (string, decimal)") || !strings.Contains(failures, " 1-1 ") {
		t.Errorf("metric errors:\n%s", failures)
	}
	name, _, _ := strings.Cut(strings.Split(failures, "\n")[1], " ")
	if of := o.must(t, "metric", "errors", name); strings.Count(of, name) != strings.Count(failures, name) {
		t.Errorf("metric errors %s:\n%s", name, of)
	}
	o.refused(t, 1, "chainmetrics: unknown metric: none\n  see the names with: "+o.binary+" metric list\n", "metric", "errors", "none")
}

func TestOpenStream(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	made := o.must(t, "stream", "create", "blockchain_events")
	if made != "blockchain_events is open: XADD blockchain_events * type … chain … timestamp …\n" {
		t.Errorf("stream create:\n%s", made)
	}
	if again := o.must(t, "stream", "create", "blockchain_events"); again != made {
		t.Errorf("again:\n%s", again)
	}
	if r := o.run(t, "stream", "create", "Events!"); r.code != 2 || !strings.Contains(r.errors, "is no name of a stream") {
		t.Errorf("a bad name: %+v", r)
	}
	if shown := o.must(t, "stream", "show", "blockchain_events"); !strings.Contains(shown, "blockchain_events  open         missing") ||
		!strings.Contains(shown, "no function reads it yet") {
		t.Errorf("stream show:\n%s", shown)
	}
	o.refused(t, 1, "chainmetrics: unknown stream: other\n  see the names with: "+o.binary+" stream list\n", "stream", "show", "other")
}
