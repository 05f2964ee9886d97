package main_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func TestStreamAccept(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	entries := chain(t, 9)
	accept := func(args ...string) []string { return append([]string{"stream", "accept", testStream}, args...) }

	o.refused(t, 1, "chainmetrics: nothing to accept: no function reads a stream \""+testStream+"\"\n"+
		"  see the streams with: "+o.binary+" status\n", accept()...)
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries[:3])
	o.refused(t, 1, "chainmetrics: nothing to accept: every function can go on in "+testStream+"\n", accept()...)

	o.lose(t, entries[6].ID)
	r := o.answer(t, "n\n", accept()...)
	if want := "counter loses 3 entries between 0-3 and 0-7\n"; r.code != 1 || r.out != want {
		t.Errorf("not confirmed: %+v", r)
	}
	if marks := o.marks(t); len(marks[0].Mark.Holes) != 0 {
		t.Errorf("holes without confirmation: %+v", marks)
	}
	o.refused(t, 2, "chainmetrics: --reason is empty: say why the entries are lost\n  see chainmetrics stream accept --help\n",
		accept("--reason", "")...)
	got := o.must(t, accept("--yes", "--reason", "disk failed")...)
	want := "counter loses 3 entries between 0-3 and 0-7\naccepted for counter, which goes on behind it\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}

	client, marks := o.redis(t), o.marks(t)
	batch, err := client.Read(t.Context(), testStream, marks[0].Mark, redisstream.Limit{Count: 10, Bytes: 1 << 20})
	if err != nil || len(batch) != 3 || batch[0].ID != entries[6].ID || batch[0].Predecessor != entries[2].ID {
		t.Errorf("a source reads %d entries, %v", len(batch), err)
	}
	if got := o.status(t, "--late", never); !strings.Contains(got, "between 0-3 and 0-7, <day>: disk failed") ||
		!strings.Contains(got, "nothing is wrong") {
		t.Errorf("status afterwards:\n%s", got)
	}
	o.refused(t, 1, "chainmetrics: nothing to accept: every function can go on in "+testStream+"\n", accept("--yes")...)
}

func TestStreamAcceptWhereOnlyAnAppliedEntryHasGone(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	entries := chain(t, 5)
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries[:3])
	o.lose(t, entries[3].ID)
	r := o.answer(t, "n\n", "stream", "accept", testStream)
	if want := "counter loses nothing: 0-3, which it has applied, has gone\n"; r.out != want {
		t.Errorf("got %+v, want %q", r, want)
	}
}

func TestStreamAcceptOfEntriesThatNameNoBlock(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	var entries []events.Entry
	for n := range uint64(9) {
		entries = append(entries, events.Entry{ID: events.ID{Major: 1_700_000_000_000, Minor: n + 1}, Fields: []events.Field{
			{Name: "type", Value: "payment"}, {Name: "chain", Value: "bitcoin"}, {Name: "timestamp", Value: "1231006505"},
		}})
	}
	o.feed(t, events.ID{}, entries)
	o.deliver(t, entries[:3])
	o.lose(t, entries[5].ID)
	r := o.answer(t, "n\n", "stream", "accept", testStream)
	want := "counter loses an unknown number of entries between 1700000000000-3 and 1700000000000-6: " +
		"5 entries were removed from the stream in all, others perhaps at unknown places\n"
	if r.out != want {
		t.Errorf("got %+v, want %q", r, want)
	}
}

func TestStreamAcceptNeedsAnEntryBehindTheLoss(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	entries := chain(t, 3)
	o.feed(t, events.ID{}, entries[:1])
	o.deliver(t, entries)
	r := o.run(t, "stream", "accept", testStream, "--yes")
	if r.code != 1 || !strings.Contains(r.errors, "nothing lies beyond") {
		t.Errorf("exit status %d:\n%s", r.code, r.errors)
	}
}

// TestStreamAcceptIsLeftToTheArchive where that heals an open stream: what was accepted would be lost to it.
func TestStreamAcceptIsLeftToTheArchive(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	if err := o.store(t).RegisterStream(t.Context(), postgres.Stream{Name: testStream, Mode: postgres.ModeOpen}); err != nil {
		t.Fatal(err)
	}
	entry := flat(events.ID{Major: 1709251200000}, "transfer")
	if err := o.redis(t).Append(t.Context(), testStream, events.ID{}, []events.Entry{entry}); err != nil {
		t.Fatal(err)
	}
	trimmer := archive.NewTrimmer(archive.Config{}, o.store(t), o.redis(t))
	if _, _, err := trimmer.Apply(t.Context(), testStream, []events.Delivery{events.NewDelivery(testStream, entry, events.ID{})}); err != nil {
		t.Fatal(err)
	}
	entry.Fields = append(entry.Fields, events.Field{Name: "other", Value: "content"})
	seen := redisstream.Info{Last: entry.ID, LastEntry: entry.ID, Length: 1}
	if err := o.redis(t).Replace(t.Context(), testStream, seen, 0, events.ID{}, []events.Entry{entry}); err != nil {
		t.Fatal(err)
	}
	o.refused(t, 1, "chainmetrics: nothing to accept: the archive heals "+testStream+" at its next tick\n  if there is no archive any "+
		"more: "+o.binary+" function detach archive\n", "stream", "accept", testStream, "--yes")
	if got := o.status(t); !strings.Contains(got, "the archive's next tick has it go on") {
		t.Errorf("got\n%s", got)
	}
	now := time.Date(2024, 3, 7, 0, 0, 0, 0, time.UTC)
	if err := trimmer.Tick(t.Context(), events.Tick{Function: archive.Name}, now); err != nil {
		t.Fatal(err)
	}
	if got := o.status(t); strings.Contains(got, "cannot go on") || !strings.Contains(got, "healed: entry 1709251200000-0 has another content") {
		t.Errorf("got\n%s", got)
	}
}

func (o *operator) marks(t *testing.T) []postgres.FunctionMark {
	t.Helper()
	marks, err := o.store(t).Marks(t.Context(), testStream)
	if err != nil || len(marks) != 1 {
		t.Fatalf("marks are %v, %v", marks, err)
	}
	return marks
}
