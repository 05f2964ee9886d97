package aggregate_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// otherwise has the names of rebuilt, each with another calculation, some of other types, sizes and dimensions.
const otherwise = `
name: moved
type: counter
calculation_logic: {stream: {event_type: transfer, value: event.amount, dimensions: {from: event.to}}}
chains: [testchain]
bucket_sizes: [minutely, hourly, daily]
---
name: receivers
type: counter
calculation_logic: {stream: {event_type: transfer, value: event.amount, time: event.other_time, where: event.amount > 2}}
chains: [testchain, otherchain]
bucket_sizes: [hourly, daily]
---
name: few
type: gauge
calculation_logic: {stream: {event_type: transfer, value: event.amount, dimensions: {to: event.to}}}
chains: [testchain]
bucket_sizes: [hourly, daily, monthly]
---
name: last_amount
type: histogram
calculation_logic: {stream: {event_type: transfer, value: event.amount}}
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: amounts
type: counter
calculation_logic: {stream: {event_type: transfer}}
chains: [testchain]
bucket_sizes: [daily, weekly]
`

// TestAChangedCalculation gives metrics others in the middle of a stream: what is shown is of the one or the other, and in the end
// all is as if the metrics had never been anything else.
func TestAChangedCalculation(t *testing.T) {
	t.Parallel()
	all := scattered(400)
	plain := harness.Database(t)
	pipeline.Apply(t, pipeline.Store(t, plain), "test.yaml", []byte(rebuilt))
	applyAll(t, all, appliers(pipeline.Store(t, plain))...)
	want := stored(t, pipeline.Database(t, plain))

	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(otherwise))
	everybody := appliers(store)
	applyAll(t, all[:200], everybody...)
	pipeline.Apply(t, store, "test.yaml", []byte(rebuilt))
	applyAll(t, all[:250], everybody...)
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		applyAll(t, all, everybody...)
	}()
	rebuildAll := func() (changed int) {
		for span, kind := range spans(t, store) {
			outcome, err := aggregate.RebuildSpan(t.Context(), kind, store, span)
			for errors.Is(err, aggregate.ErrArchiveBehind) || errors.Is(err, aggregate.ErrSuperseded) { // too many sets have come meanwhile
				outcome, err = aggregate.RebuildSpan(t.Context(), kind, store, span)
			}
			if err != nil {
				t.Fatal(err)
			}
			changed += len(outcome.Changes)
		}
		return changed
	}
	rebuildAll()
	<-applied
	if diff := cmp.Diff(want, stored(t, database)); diff != "" {
		t.Error(diff)
	}
	if n := rebuildAll(); n != 0 {
		t.Errorf("%d buckets were not the states of their events", n)
	}
}

// TestAChangedCalculationDestroysNothing that the archive does not have: old buckets are shown, and what comes late stays beside.
func TestAChangedCalculationDestroysNothing(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	if _, err := database.Exec(t.Context(), "insert into streams (name, mode) values ($1, 'open')", stream); err != nil {
		t.Fatal(err)
	}
	all := scattered(300)
	pipeline.Apply(t, store, "test.yaml", []byte(otherwise))
	everybody := appliers(store)
	applyAll(t, all[:200], everybody...)
	shown := func() (text string) {
		t.Helper()
		const query = `select string_agg(concat_ws(' ', metric, bucket_start, dimensions, value, value_json), ', '
				order by metric, bucket_start, dimensions)
			from metric_buckets where bucket_size = 'daily' and metric in ('last_amount', 'amounts')`
		if err := database.QueryRow(t.Context(), query).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	before := shown()
	if _, err := database.Exec(t.Context(), "update streams set archive_floor = '2025-01-01Z'"); err != nil {
		t.Fatal(err)
	}
	pipeline.Apply(t, store, "test.yaml", []byte(rebuilt))
	for span, kind := range spans(t, store) {
		if _, err := aggregate.RebuildSpan(t.Context(), kind, store, span); !errors.Is(err, aggregate.ErrNotArchived) {
			t.Errorf("got %v, want %v", err, aggregate.ErrNotArchived)
		}
	}
	if diff := cmp.Diff(before, shown()); diff != "" {
		t.Errorf("after the change: %s", diff)
	}
	var late int
	applyAll(t, all, everybody...)
	const kept = "select count(*) from metrics_data where next_state is not null"
	if err := database.QueryRow(t.Context(), kept).Scan(&late); err != nil || late == 0 {
		t.Errorf("%d buckets have something beside, %v", late, err)
	}
	const outdated = "select count(*) from metrics_data d join metric_registry r using (metric_id) where d.generation < oldest_generation"
	var old int
	if err := database.QueryRow(t.Context(), outdated).Scan(&old); err != nil || old == 0 {
		t.Errorf("%d old buckets are left, %v", old, err)
	}
}
