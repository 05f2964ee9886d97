package runner_test

import (
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestSmallWorkNeverWaitsForLarge: a tick carries out runs of its complexity alone, a request begins with its metric.
func TestSmallWorkNeverWaitsForLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const large = `
name: large_gas
type: counter
complexity: large
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [daily]
`
	pipeline.Apply(t, w.store, "large.yaml", []byte(large))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	tick := events.Tick{Function: "counter", BucketSize: "daily", Complexity: "small"}
	if err := w.function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	const states = "select string_agg(distinct m.name || ' ' || r.state, ', ') from runs r join metric_registry m using (metric_id)"
	w.expect(t, states, "gas succeeded, large_gas queued, late_gas succeeded")
	tick.Complexity = "large"
	for range 2 { // doubled
		if err := w.function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(t, states, "gas succeeded, large_gas succeeded, late_gas succeeded")

	w.request(t, "gas", 2)
	w.request(t, "large_gas", 2)
	bounds := runner.Bounds{Runs: 1}
	claim, err := w.store.ClaimRuns(t.Context(), "counter", runner.Queue{Size: bucket.Daily, Metric: "large_gas"}, bounds)
	if err != nil || claim.Span.Metric != 3 {
		t.Errorf("the runs of metric %d are claimed, want 3: %v", claim.Span.Metric, err)
	}
	claim, err = w.store.ClaimRuns(t.Context(), "counter", runner.Queue{Size: bucket.Hourly, Metric: "gas"}, bounds)
	if err != nil || claim.Span.Lease != 0 {
		t.Errorf("%+v is claimed of hours: %v", claim, err)
	}
}
