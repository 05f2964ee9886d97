package aggregate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const rebuilt = `
name: moved
type: counter
calculation_logic: {stream: {event_type: transfer, value: event.amount, dimensions: {to: event.to}}}
chains: [testchain]
bucket_sizes: [hourly, daily, weekly, monthly]
---
name: receivers
type: counter
aggregate: distinct
calculation_logic: {stream: {event_type: transfer, value: event.to, time: event.other_time, where: event.amount > 1}}
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: few
type: counter
calculation_logic: {stream: {event_type: transfer, dimensions: {to: event.to}}}
max_dimensions: 3
chains: [testchain]
bucket_sizes: [daily, monthly]
---
name: last_amount
type: gauge
calculation_logic: {stream: {event_type: transfer, value: event.amount}}
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: amounts
type: histogram
calculation_logic: {stream: {event_type: transfer, value: event.amount, dimensions: {to: event.to}}}
chains: [testchain]
bucket_sizes: [daily, weekly]
`

// scattered gives transfers whose times are not in the order of the stream, many of them in the same hours.
func scattered(n int) []events.Delivery {
	random := rand.New(rand.NewPCG(7, 7))
	all := make([]events.Delivery, n)
	for i := range all {
		at := start.Add(time.Duration(random.IntN(14*24*60)) * time.Minute)
		data, err := json.Marshal(map[string]any{
			"type": "transfer", "chain": "testchain", "timestamp": at.Unix(), "amount": random.IntN(9),
			"to": string(rune('a' + random.IntN(6))), "other_time": at.Add(time.Duration(random.IntN(400)-200) * time.Minute).Unix(),
		})
		if err != nil {
			panic(err)
		}
		id := uint64(i) + 1
		all[i] = events.Delivery{
			Stream: stream, ID: events.ID{Minor: id}, Predecessor: events.ID{Minor: id - 1}, Type: events.TypeEvent, Hash: hash(id),
			Chain: "testchain", Time: at, Appended: start.AddDate(0, 1, 0), Data: data,
		}
	}
	return all
}

// stored reads all buckets as text.
func stored(t *testing.T, database *pgxpool.Pool) map[string]string {
	t.Helper()
	rows, err := database.Query(t.Context(), `select r.name || ' ' || bucket_size || ' ' || bucket_start || dimensions,
			value || ' ' || coalesce(value_json::text, '') || encode(state, 'hex') || coalesce(next_generation::text, '')
		from metrics_data join metric_registry r using (metric_id)`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	var key, value string
	if _, err := pgx.ForEachRow(rows, []any{&key, &value}, func() error { all[key] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// applier is a function or the archive.
type applier interface {
	Apply(ctx context.Context, stream string, batch []events.Delivery) (watermark.Mark, int, error)
}

func appliers(store *postgres.Store) []applier {
	all := []applier{archive.NewFunction(archive.Config{}, store)}
	for _, kind := range functions.Types {
		all = append(all, aggregate.NewFunction(kind, store))
	}
	return all
}

// applyAll gives everybody all entries, in batches of random sizes.
func applyAll(t *testing.T, all []events.Delivery, to ...applier) {
	t.Helper()
	var applying sync.WaitGroup
	for n, function := range to {
		applying.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 3))
			for at := 0; at < len(all); {
				until := min(len(all), at+1+random.IntN(30))
				mark, _, err := function.Apply(t.Context(), stream, all[at:until])
				if err != nil {
					t.Error(err)
					return
				}
				for at < until && all[at].ID.Compare(mark.ID) <= 0 { // it may have to wait for the archive
					at++
				}
			}
		})
	}
	applying.Wait()
}

// spans gives, for each size of each metric, windows one after the other which together hold all of January.
func spans(t *testing.T, store *postgres.Store) map[aggregate.Span]aggregate.Type {
	t.Helper()
	metrics, err := store.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[aggregate.Span]aggregate.Type{}
	for _, m := range metrics {
		for _, kind := range functions.Types {
			if kind.Definitions().Name != m.Definition.Type {
				continue
			}
			for _, size := range m.Definition.BucketSizes {
				width, count := 3, 0
				if size == bucket.Hourly {
					width = 50
				}
				span := aggregate.Span{Metric: m.ID, Size: size, Chain: "testchain"}
				for w := range size.Windows(start.AddDate(0, 0, -2), start.AddDate(0, 0, 17)) {
					if count == 0 {
						span.From = w.Start
					}
					span.To = w.End
					if count++; count == width {
						all[span] = kind
						count = 0
					}
				}
				if count > 0 {
					all[span] = kind
				}
			}
		}
	}
	return all
}

// TestRebuildsBesideTheStream computes windows again and again while the stream goes on: nothing changes, and in the end
// everything is as without rebuilds.
func TestRebuildsBesideTheStream(t *testing.T) {
	t.Parallel()
	const entries = 800
	all := scattered(entries)
	plain := harness.Database(t)
	pipeline.Apply(t, pipeline.Store(t, plain), "test.yaml", []byte(rebuilt))
	applyAll(t, all, appliers(pipeline.Store(t, plain))...)
	want := stored(t, pipeline.Database(t, plain))

	url := harness.Database(t)
	store := pipeline.Store(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(rebuilt))
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		applyAll(t, all, appliers(store)...)
	}()
	rebuilds, late := 0, 0
	for done := false; !done; {
		select {
		case <-applied:
			done = true // and once more, when everything is there
		default:
		}
		for span, kind := range spans(t, store) {
			outcome, err := aggregate.RebuildSpan(t.Context(), kind, store, span)
			switch { // while the archive is behind, or has nothing yet, or a window is filled up
			case done:
			case errors.Is(err, aggregate.ErrArchiveBehind), errors.Is(err, aggregate.ErrNotArchived), errors.Is(err, aggregate.ErrSuperseded):
				late++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			rebuilds++
			for _, change := range outcome.Changes {
				t.Errorf("%v was not the state of its events: %x, now %x", change.Key, change.Before, change.Now)
			}
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	t.Logf("%d rebuilds, %d that have to be done once more", rebuilds, late)
	if diff := cmp.Diff(want, stored(t, pipeline.Database(t, url))); diff != "" {
		t.Error(diff)
	}
}

// beside is a store that has something happen after a rebuild has begun, before it reads.
type beside struct {
	*postgres.Store
	happen func()
}

func (b *beside) Archived(
	ctx context.Context, rebuild aggregate.Rebuild, query aggregate.EventQuery, each func(events.Event, events.ID) error,
) error {
	b.happen()
	return b.Store.Archived(ctx, rebuild, query, each)
}

// TestRebuildsCountUpToTheirCut, though the archive and the function have more by the time when they read.
func TestRebuildsCountUpToTheirCut(t *testing.T) {
	t.Parallel()
	all := scattered(800)
	plain := harness.Database(t)
	pipeline.Apply(t, pipeline.Store(t, plain), "test.yaml", []byte(rebuilt))
	applyAll(t, all, appliers(pipeline.Store(t, plain))...)

	url := harness.Database(t)
	store := pipeline.Store(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(rebuilt))
	everybody := appliers(store)
	left := all
	apply := func(entries int) {
		some := left[:min(entries, len(left))]
		left = left[len(some):]
		applyAll(t, some, everybody...)
	}
	apply(400)
	for span, kind := range spans(t, store) {
		_, err := aggregate.RebuildSpan(t.Context(), kind, &beside{store, func() { apply(20) }}, span)
		if err != nil && !errors.Is(err, aggregate.ErrSuperseded) { // by what has filled a window up
			t.Fatal(err)
		}
	}
	apply(len(left))
	if diff := cmp.Diff(stored(t, pipeline.Database(t, plain)), stored(t, pipeline.Database(t, url))); diff != "" {
		t.Error(diff)
	}
}

// TestRebuildGivesANewMetricItsHistory adds metrics in the middle of a stream, and puts right what somebody has changed.
func TestRebuildGivesANewMetricItsHistory(t *testing.T) {
	t.Parallel()
	all := scattered(400)
	plain := harness.Database(t)
	pipeline.Apply(t, pipeline.Store(t, plain), "test.yaml", []byte(rebuilt))
	applyAll(t, all, appliers(pipeline.Store(t, plain))...)
	want := stored(t, pipeline.Database(t, plain))

	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	applyAll(t, all[:200], appliers(store)...)
	pipeline.Apply(t, store, "test.yaml", []byte(rebuilt))
	applyAll(t, all[:300], appliers(store)...)
	rebuildAll := func() (changed int) {
		for span, kind := range spans(t, store) {
			outcome, err := aggregate.RebuildSpan(t.Context(), kind, store, span)
			if err != nil {
				t.Fatal(err)
			}
			changed += len(outcome.Changes)
		}
		return changed
	}
	if rebuildAll() == 0 {
		t.Error("nothing has changed")
	}
	applyAll(t, all, appliers(store)...)
	if diff := cmp.Diff(want, stored(t, database)); diff != "" {
		t.Error(diff)
	}
	for _, tampering := range []string{
		"update metrics_data set value = value + 1, state = '\\x01' || state where bucket_size = 'hourly' and bucket_start < '2024-01-02Z'",
		"delete from metrics_data where bucket_size = 'daily' and bucket_start < '2024-01-03Z'",
		"update metrics_data set dimensions = '{\"to\":\"z\"}' where dimensions = '{\"to\":\"a\"}' and bucket_size = 'weekly'",
	} {
		if tag, err := database.Exec(t.Context(), tampering); err != nil || tag.RowsAffected() == 0 {
			t.Fatalf("%s: %s, %v", tampering, tag, err)
		}
	}
	if rebuildAll() == 0 {
		t.Error("nothing has changed after it was tampered with")
	}
	if diff := cmp.Diff(want, stored(t, database)); diff != "" {
		t.Error(diff)
	}
	if n := rebuildAll(); n != 0 {
		t.Errorf("%d buckets have changed", n)
	}
}

// TestRebuildIsRefused where the archive is not whole, or something else came between.
func TestRebuildIsRefused(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(rebuilt))
	const register = "insert into streams (name, mode) values ($1, 'open')"
	if _, err := database.Exec(t.Context(), register, stream); err != nil {
		t.Fatal(err)
	}
	all := scattered(300)
	everybody := appliers(store)
	applyAll(t, all, everybody...)
	before := stored(t, database)
	metrics, err := store.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	moved := metrics[3] // by name
	span := aggregate.Span{
		Metric: moved.ID, Size: bucket.Daily, Chain: "testchain", From: start, To: start.AddDate(0, 0, 3),
	}
	counter := functions.Types[0]
	tests := []struct {
		name      string
		beginning func() error // after the rebuild has begun
		before    string
		after     string
		want      error
	}{
		{
			name: "below the floor", before: "update streams set archive_floor = '2024-01-01 00:00:01Z'",
			after: "update streams set archive_floor = '-infinity'", want: aggregate.ErrNotArchived,
		},
		{
			name: "events left out", before: "update stream_types set left_out = 1", after: "update stream_types set left_out = 0",
			want: aggregate.ErrNotArchived,
		},
		{name: "floor raised meanwhile", beginning: func() error {
			_, err := database.Exec(t.Context(), "update streams set archive_floor = '2024-01-02Z'")
			return err
		}, after: "update streams set archive_floor = '-infinity'", want: aggregate.ErrNotArchived},
		{name: "rebuilt meanwhile", beginning: func() error {
			inner := span
			inner.From, inner.To = start.AddDate(0, 0, 1), start.AddDate(0, 0, 2)
			_, err := aggregate.RebuildSpan(t.Context(), counter, store, inner)
			return err
		}, want: aggregate.ErrSuperseded},
		{name: "definition changed meanwhile", beginning: func() error {
			_, err := database.Exec(t.Context(), "update metric_registry set version = version + 1 where metric_id = $1", moved.ID)
			return err
		}, want: aggregate.ErrSuperseded},
		{
			name: "entries lost before they were archived", before: `insert into stream_holes values
				('archive', '` + stream + `', '0-1', '0-3', 1, '0-1', 'a test')`,
			after: "delete from stream_holes", want: aggregate.ErrNotArchived,
		},
		{
			name: "entries that the archive has given up", before: `insert into dead_letters values
				('` + stream + `', '0-7', 'quarantined: archive failed for it 10 times', '', 0)`,
			after: "delete from dead_letters", want: aggregate.ErrNotArchived,
		},
		{
			name: "archive behind", before: "update stream_watermarks set entry_id = '0-299' where function = 'archive'",
			after: "update stream_watermarks set entry_id = '0-300' where function = 'archive'", want: aggregate.ErrArchiveBehind,
		},
	}
	for _, tt := range tests {
		execute := func(statement string) {
			if _, err := database.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		if tt.before != "" {
			execute(tt.before)
		}
		_, err := aggregate.RebuildSpan(t.Context(), counter, &interrupted{Archive: store, then: tt.beginning}, span)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if tt.after != "" {
			execute(tt.after)
		}
		if diff := cmp.Diff(before, stored(t, database)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	// What is left behind does no harm: the stream goes on, and the next rebuild changes nothing.
	more := scattered(400)
	applyAll(t, more, everybody...)
	outcome, err := aggregate.RebuildSpan(t.Context(), counter, store, span)
	if err != nil || len(outcome.Changes) > 0 {
		t.Errorf("%d changes, %v", len(outcome.Changes), err)
	}
	if got := fmt.Sprint(outcome.Buckets); got == "0" {
		t.Error("no buckets")
	}
}

// interrupted does something once a rebuild has begun.
type interrupted struct {
	aggregate.Archive
	then func() error
}

func (i *interrupted) BeginRebuild(
	ctx context.Context, function string, span aggregate.Span, windows []bucket.Key,
) (aggregate.Rebuild, error) {
	rebuild, err := i.Archive.BeginRebuild(ctx, function, span, windows)
	if err == nil && i.then != nil {
		err = i.then()
	}
	return rebuild, err
}

// asked notes which queries ask for an order.
type asked struct {
	aggregate.Archive
	ordered []bool
}

func (a *asked) Archived(
	ctx context.Context, rebuild aggregate.Rebuild, query aggregate.EventQuery, each func(events.Event, events.ID) error,
) error {
	a.ordered = append(a.ordered, query.Ordered)
	return a.Archive.Archived(ctx, rebuild, query, each)
}

// TestOnlyOverfullWindowsAreReadInOrder, which takes longer.
func TestOnlyOverfullWindowsAreReadInOrder(t *testing.T) {
	t.Parallel()
	store := pipeline.Store(t, harness.Database(t))
	pipeline.Apply(t, store, "test.yaml", []byte(rebuilt))
	applyAll(t, scattered(200), appliers(store)...)
	for name, want := range map[string]string{"few": "[false true]", "moved": "[false]"} {
		m, err := store.Metric(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		archive := &asked{Archive: store}
		span := aggregate.Span{Metric: m.ID, Size: bucket.Daily, Chain: "testchain", From: start, To: start.AddDate(0, 0, 14)}
		outcome, err := aggregate.RebuildSpan(t.Context(), functions.Types[0], archive, span)
		if err != nil || outcome.Events != 200 {
			t.Errorf("%s: %d events, %v", name, outcome.Events, err)
		}
		if got := fmt.Sprint(archive.ordered); got != want {
			t.Errorf("%s: the events are read in order %s, want %s", name, got, want)
		}
	}
}
