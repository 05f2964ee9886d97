package runner_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestNothingBelowTheFloorIsLost, where the archive keeps less than there are buckets of: by events that come late, by another
// calculation, by runs of whatever window a person asks for. What lies above the floor is computed, also where the first windows
// that were asked for lie below it, and where a larger window begins below it: a week, or the month of a metric whose blocks may
// count seven days later.
func TestNothingBelowTheFloorIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.store.RegisterStream(t.Context(), postgres.Stream{Name: stream, Mode: postgres.ModeFeed, Chain: "testchain"}); err != nil {
		t.Fatal(err)
	}
	pipeline.Apply(t, w.store, "kept.yaml", []byte(keptMetrics))
	var (
		floor  = time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC) // a Friday
		newest = time.Date(2024, 4, 10, 0, 0, 0, 0, time.UTC)
		want   = make(map[keptWindow]keptBucket)
		last   events.ID
	)
	heightOf := func(at time.Time) uint64 { return uint64(at.Sub(genesis) / (30 * time.Minute)) }
	add := func(at time.Time, gas uint64) {
		for _, window := range keptWindows(at, at.Add(time.Microsecond)) {
			want[window] = keptBucket{want[window].gas + gas, window.ended(newest)}
		}
	}
	var history []events.Delivery
	for at := genesis; !at.After(newest); at = at.Add(6 * time.Hour) {
		history = append(history, block(0, heightOf(at), last))
		last = history[len(history)-1].ID
		add(at, heightOf(at))
	}
	w.apply(t, history)
	w.settleAll(t)
	w.kept(t, "in the beginning", want)

	expire := func() {
		t.Helper()
		keeper := archive.NewFunction(archive.Config{Retention: 62 * 24 * time.Hour}, w.store)
		if err := keeper.Tick(t.Context(), events.Tick{Function: archive.Name}, floor.AddDate(0, 0, 70)); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "select max(archive_floor) from streams", "2024-03-01 00:00:00+00")
		w.expect(t, "select min(event_time) from chain_events", "2024-03-01 00:00:00+00")
		w.kept(t, "months were dropped", want)
	}
	expire()

	// Below the floor twice, above it in the week that begins below, and later.
	times := []time.Time{
		time.Date(2024, 2, 20, 6, 0, 0, 0, time.UTC), time.Date(2024, 2, 28, 6, 0, 0, 0, time.UTC),
		time.Date(2024, 3, 2, 6, 0, 0, 0, time.UTC), time.Date(2024, 3, 20, 6, 0, 0, 0, time.UTC),
	}
	late := func(times []time.Time) (touched []keptWindow) {
		t.Helper()
		var batch []events.Delivery
		all := make(map[keptWindow]bool)
		for _, at := range times {
			d := block(0, heightOf(at), last)
			d.ID = events.ID{Minor: last.Minor + 1}
			batch, last = append(batch, d), d.ID
			for _, window := range keptWindows(at, at.Add(time.Microsecond)) {
				all[window] = true
			}
		}
		w.apply(t, batch)
		return slices.Collect(maps.Keys(all))
	}
	newestRun := func() string { return w.text(t, "select max(run_id) from runs") }

	run := newestRun()
	touched := late(times)
	for _, at := range times {
		add(at, heightOf(at))
	}
	for _, window := range touched {
		want[window] = keptBucket{want[window].gas, false}
	}
	w.kept(t, "events came late", want)
	w.settleAll(t)
	for _, window := range touched {
		want[window] = keptBucket{want[window].gas, window.above(floor) && window.ended(newest)}
	}
	w.kept(t, "late events were looked at", want)
	w.outcomes(t, "late events", run, touched, floor)
	const revised = "select count(*) from outbox where type like '%revised%' and details ->> 'reason' = 'late' and metric like 'kept%'"
	w.expect(t, revised, fmt.Sprint(len(touched)))
	w.expect(t, "select count(*) from chain_events where event_time < '2024-03-01Z'", "2") // from which nothing may be computed

	from, to := floor.AddDate(0, 0, -2), floor.AddDate(0, 0, 10) // in one claim of each
	all := keptWindows(from, to)
	run = newestRun()
	w.requestKept(t, from, to)
	w.settleAll(t)
	w.kept(t, "all was asked for", want)
	w.outcomes(t, "all was asked for", run, all, floor)

	pipeline.Apply(t, w.store, "kept.yaml", []byte(strings.ReplaceAll(keptMetrics, "event.gas_used", "2 * event.gas_used")))
	for window, b := range want {
		want[window] = keptBucket{b.gas, false}
	}
	w.kept(t, "the calculation changed", want)
	w.settleAll(t)
	for window, b := range want {
		if window.above(floor) {
			want[window] = keptBucket{2 * b.gas, window.ended(newest)}
		}
	}
	w.kept(t, "the change was looked at", want)
	run = newestRun()
	w.requestKept(t, from, to)
	w.settleAll(t)
	w.kept(t, "all was asked for after the change", want)
	w.outcomes(t, "all was asked for after the change", run, all, floor)

	// What comes late to a bucket of the old calculation stays beside it.
	times = append(times, time.Date(2024, 2, 21, 1, 0, 0, 0, time.UTC)) // an hour without a bucket
	late(times)
	beside := make(map[keptWindow]bool)
	for _, at := range times {
		for _, window := range keptWindows(at, at.Add(time.Microsecond)) {
			if _, has := want[window]; has && !window.above(floor) {
				beside[window] = true
				continue
			}
			want[window] = keptBucket{want[window].gas + 2*heightOf(at), window.above(floor) && window.ended(newest)}
		}
	}
	w.settleAll(t)
	w.kept(t, "events came late after the change", want)
	w.expect(t, "select count(*) from metrics_data where next_state is not null", fmt.Sprint(len(beside)))
	expire()
}
