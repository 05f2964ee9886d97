package postgres_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

var reflectTime = reflect.TypeFor[time.Time]()

func TestWatermark(t *testing.T) {
	t.Parallel()
	store, _ := fresh(t)
	read := func() watermark.Mark {
		t.Helper()
		got, err := store.Watermark(t.Context(), function, stream)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(watermark.Mark{}, read()); diff != "" {
		t.Error(diff)
	}
	for _, id := range []events.ID{{Minor: 9}, {Minor: 10}, {Major: 1}, {Major: 1<<64 - 1, Minor: 1<<64 - 1}} {
		want := watermark.Mark{ID: id, Hash: "h" + id.String()}
		put(t, store, aggregate.Effects{Mark: want})
		if diff := cmp.Diff(want, read()); diff != "" {
			t.Error(diff)
		}
	}
	marks, err := store.Marks(t.Context(), stream)
	if err != nil || len(marks) != 1 || marks[0].Function != function || marks[0].UpdatedAt.IsZero() {
		t.Errorf("got %+v, %v", marks, err)
	}
	if marks, err = store.Marks(t.Context(), "another"); err != nil || len(marks) != 0 {
		t.Errorf("another stream: got %+v, %v", marks, err)
	}
	if marks, err = store.Marks(t.Context(), ""); err != nil || len(marks) != 1 {
		t.Errorf("all streams: got %+v, %v", marks, err)
	}
}

// TestHistoryIsNoRange that a function has passed over: what a new metric lacks is pending too, and not among them.
func TestHistoryIsNoRange(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	ranges := func() int64 {
		t.Helper()
		marks, err := store.Marks(t.Context(), stream)
		if err != nil || len(marks) != 1 {
			t.Fatalf("got %+v, %v", marks, err)
		}
		return marks[0].Ranges
	}
	put(t, store, aggregate.Effects{Mark: watermark.Mark{ID: events.ID{Minor: 5}, Hash: "h"}})
	apply(t, store, definition("fees", "event.fees"))
	if got := ranges(); got != 0 {
		t.Errorf("the history of a metric: %d ranges", got)
	}
	const pass = "insert into pending_ranges (function, stream, after_id, until_id) values ($1, $2, '0-1', '0-3')"
	execute(t, connect(t, url), pass, function, stream)
	if got := ranges(); got != 1 {
		t.Errorf("one that was passed over: %d ranges", got)
	}
}

func TestAcceptHoles(t *testing.T) {
	t.Parallel()
	store, _ := fresh(t)
	id := func(minor uint64) events.ID { return events.ID{Minor: minor} }
	accept := func(at watermark.Mark, holes ...watermark.Hole) error {
		return store.AcceptHoles(t.Context(), function, stream, at, holes, "the disk was lost")
	}
	if err := accept(watermark.Mark{}, watermark.Hole{Next: id(5)}); !errors.Is(err, postgres.ErrMoved) {
		t.Errorf("unknown function: got %v, want %v", err, postgres.ErrMoved)
	}
	put(t, store, aggregate.Effects{Mark: mark(10)})
	refused := map[string]struct {
		at   watermark.Mark
		hole watermark.Hole
		want error
	}{
		"mark before":   {mark(9), watermark.Hole{After: id(10), Next: id(20)}, postgres.ErrMoved},
		"another entry": {watermark.Mark{ID: id(10), Hash: "x"}, watermark.Hole{After: id(10), Next: id(20)}, postgres.ErrMoved},
		"hole before":   {mark(10), watermark.Hole{After: id(9), Next: id(20)}, postgres.ErrHole},
		"empty hole":    {mark(10), watermark.Hole{After: id(10), Next: id(10)}, postgres.ErrHole},
	}
	for name, c := range refused {
		if err := accept(c.at, c.hole); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	ahead := []watermark.Hole{{After: id(10), Next: id(12), Removed: 7, First: id(4)}, {After: id(100), Next: id(110)}}
	if err := accept(mark(10), ahead[1], watermark.Hole{After: id(10), Next: id(11)}); err != nil {
		t.Fatal(err)
	}
	if err := accept(mark(10), ahead[0]); err != nil { // lost again: the later one holds
		t.Fatal(err)
	}
	want := mark(10)
	want.Holes = ahead
	got, err := store.Watermark(t.Context(), function, stream)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	put(t, store, aggregate.Effects{Mark: mark(12)})
	want = mark(12)
	want.Holes = ahead[1:]
	marks, err := store.Marks(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, marks[0].Mark); diff != "" {
		t.Error(diff)
	}
	troubles, err := store.Troubles(t.Context())
	if err != nil || len(troubles.Holes) != 2 || troubles.Holes[0].Reason != "the disk was lost" {
		t.Errorf("got %+v, %v", troubles.Holes, err)
	}
}
