package main_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
)

// TestAFunctionThatIsAway keeps a stream from being trimmed until it is detached, and goes on once it is attached again. Nobody
// takes for lost what it has missed.
func TestAFunctionThatIsAway(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	if r := o.run(t, "function", "list"); r.code != 0 || r.out != "" || r.errors != "no function has begun a stream yet\n" {
		t.Errorf("without functions: %+v", r)
	}
	entries := chain(t, 9)
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries[:3])
	trimmer := archive.NewTrimmer(archive.Config{}, o.store(t), o.redis(t))
	batch := make([]events.Delivery, len(entries))
	var after events.ID
	for i, entry := range entries {
		batch[i], after = events.NewDelivery(testStream, entry, after), entry.ID
	}
	if _, _, err := trimmer.Apply(t.Context(), testStream, batch); err != nil {
		t.Fatal(err)
	}
	tick := func(first string) {
		t.Helper()
		if err := trimmer.Tick(t.Context(), events.Tick{Function: archive.Name}, time.Date(2024, 3, 7, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
		if info, err := o.redis(t).Info(t.Context(), testStream); err != nil || info.First.String() != first {
			t.Errorf("the stream begins with %s, %v, want %s", info.First, err, first)
		}
	}
	since := regexp.MustCompile(`since \S+ \S+`)
	list := func(counter string) {
		t.Helper()
		want := "archive " + testStream + " 0-9 0 2024-03-06 23:30:00 active 0|counter " + testStream + " " + counter
		lines := strings.Split(strings.TrimSpace(o.must(t, "function", "list")), "\n")
		for i, line := range lines {
			lines[i] = since.ReplaceAllString(strings.Join(strings.Fields(line), " "), "since <time>")
		}
		if diff := cmp.Diff(want, strings.Join(lines[1:], "|")); diff != "" {
			t.Error(diff)
		}
	}
	lossless := func(shown string) {
		t.Helper()
		if got := o.must(t, "status", "--check"); !strings.Contains(got, shown) {
			t.Errorf("status lacks %q:\n%s", shown, got)
		}
		o.refused(t, 1, "chainmetrics: nothing to accept: every function can go on in "+testStream+"\n", "stream", "accept", testStream)
	}

	tick("0-3")
	list("0-3 6 2024-02-29 23:30:00 active 0")
	want := "it alone keeps the stream from being trimmed; where it is to stay away:\nchainmetrics function detach counter\n"
	if got := o.status(t); !strings.HasSuffix(got, want) {
		t.Errorf("status lacks %q:\n%s", want, got)
	}
	unsure := o.answer(t, "\n", "function", "detach", "counter")
	if unsure.code != 1 || !strings.HasPrefix(unsure.errors, "Detach counter? Streams are trimmed without regard to it then. [y/N]") {
		t.Errorf("not confirmed: %+v", unsure)
	}
	if got := o.must(t, "function", "detach", "counter", "--yes"); got != "counter is detached\n" {
		t.Errorf("detached: %s", got)
	}
	list("0-3 6 2024-02-29 23:30:00 detached since <time> 0")
	tick("0-9")
	list("0-3 - 2024-02-29 23:30:00 detached since <time> 0")
	lossless("\ncounter is away from " + testStream + ": detached since ")
	var shown []map[string]any
	if err := json.Unmarshal([]byte(o.must(t, "function", "list", "--output", "json")), &shown); err != nil {
		t.Fatal(err)
	}
	if shown[1]["detached_at"] == nil || shown[1]["lag"] != nil || shown[0]["lag"] != 0.0 || shown[0]["pending_ranges"] != 0.0 {
		t.Errorf("as JSON: %v", shown)
	}
	if got := o.must(t, "function", "attach", "counter"); got != "counter is attached\n" {
		t.Errorf("attached: %s", got)
	}
	lossless("\ncounter is away from " + testStream + ": moved at the archive's next tick\n")
	list("0-3 - 2024-02-29 23:30:00 moved at the archive's next tick 0")
	tick("0-9")
	list("0-9 0 2024-03-06 23:30:00 active 1")
	lossless("nothing is wrong")
}

func TestFunctionsThatCannotBeDetached(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	o.refused(t, 1, "chainmetrics: the archive keeps what it has not archived in any case\n", "function", "detach", "archive", "--yes")
	o.refused(t, 1, "chainmetrics: unknown function: gouge\n  see the names with: "+o.binary+" function list\n", "function", "attach", "gouge")
}
