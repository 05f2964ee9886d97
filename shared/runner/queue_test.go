package runner_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
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

// TestATickOfAMetricRequestsNoOthers: with a thousand metrics each tick would do the work of all. A request of the scheduler carries out
// what is queued of others, one that names none requests all.
func TestATickOfAMetricRequestsNoOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	tick := events.Tick{Function: "counter", Metric: "gas", BucketSize: "daily", Complexity: "small"}
	const states = "select string_agg(distinct m.name || ' ' || r.state, ', ') from runs r join metric_registry m using (metric_id)"
	for _, step := range []struct {
		metric    string
		requested bool
		want      string
	}{
		{"gas", false, "gas succeeded"},
		{"gas", true, "gas succeeded"},
		{"", false, "gas succeeded, late_gas succeeded"},
	} {
		tick.Metric, tick.Requested = step.metric, step.requested
		if err := w.function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
		w.expect(t, states, step.want)
	}
	w.execute(t, "update runs set state = 'queued', lease = null, lease_until = null, finished_at = null")
	for _, step := range []struct {
		requested bool
		want      string
	}{{false, "gas succeeded, late_gas queued"}, {true, "gas succeeded, late_gas succeeded"}} {
		tick.Metric, tick.Requested = "gas", step.requested
		if err := w.function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
		w.expect(t, states, step.want)
	}
}

// TestALongQueueIsNotReadThrough by claims and by what ends them, whatever the statistics of the table say: it took minutes.
func TestALongQueueIsNotReadThrough(t *testing.T) {
	t.Parallel()
	const claims, most, mostRead = 10, 100, 100_000 // runs of a claim, entries of indexes in all
	const (
		fill = `insert into runs (metric_id, bucket_size, chain, bucket_start, reason, state)
			select metric_id, 'hourly', 'testchain', timestamptz '2010-01-01Z' + n * interval '1 hour', 'history', `
		queue  = fill + "'queued' from metric_registry, generate_series(0, 29999) n where name = 'gas'"
		ended  = fill + "'succeeded' from metric_registry, generate_series(0, 499) n where name ~ 'other'"
		others = `insert into metric_registry (name, type, definition) select 'other' || n, type, definition
			from metric_registry, generate_series(1, 200) n where name = 'gas'`
	)
	for name, statements := range map[string][]string{
		"with statistics":        {queue, "analyze runs"},
		"with outdated ones":     {"analyze runs", queue},
		"beside many that ended": {ended, "analyze runs", queue},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(t, chain(0, 0, 20, events.ID{}))
			w.execute(t, "alter table runs set (autovacuum_enabled = false)")
			w.execute(t, others)
			for _, statement := range statements {
				w.execute(t, statement)
			}
			for range claims {
				claim, err := w.store.ClaimRuns(t.Context(), "counter", runner.Queue{Size: bucket.Hourly},
					runner.Bounds{Lease: time.Minute, Runs: most, Time: most * time.Hour})
				if err != nil || claim.Span.To.Sub(claim.Span.From) != most*time.Hour {
					t.Fatalf("%+v, %v", claim, err)
				}
				if err := w.store.EndRuns(t.Context(), claim, runner.End{State: runner.Queued, After: time.Hour, Free: true}); err != nil {
					t.Fatal(err)
				}
			}
			w.store.Close() // so that its connections say what they have read
			pipeline.Eventually(t, time.Minute, "they are closed", func() bool {
				return w.text(t, "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'test'") == "0"
			})
			read, err := strconv.Atoi(w.text(t, "select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'runs'"))
			if err != nil || read > mostRead {
				t.Errorf("%d entries of indexes were read for %d claims of %d runs, want at most %d: %v", read, claims, most, mostRead, err)
			}
		})
	}
}

// TestNothingIsBegunWhileTheArchiveIsBehind: each run would come to nothing, one after the other.
func TestNothingIsBegunWhileTheArchiveIsBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.request(t, "gas", 2)
	const leases, states = "select is_called from pg_sequences, run_lease where sequencename = 'run_lease'",
		"select string_agg(distinct state, ' ') from runs where reason = 'backfill'"
	for statement, undo := range map[string]string{
		"update stream_watermarks set entry_id = '0-99' where function = 'archive'":                                                                                 "update stream_watermarks set entry_id = '0-100' where function = 'archive'",
		"insert into pending_ranges (function, stream, after_id, until_id) select function, stream, '0-1', '0-2' from stream_watermarks where function = 'counter'": "delete from pending_ranges",
	} {
		w.execute(t, statement)
		if _, err := runner.Work(t.Context(), counter.Type{}, w.store, []runner.Queue{{Size: bucket.Daily}}, time.Minute, ""); err != nil {
			t.Fatal(err)
		}
		w.expect(t, leases, "false")
		w.execute(t, undo)
	}
	if _, err := runner.Work(t.Context(), counter.Type{}, w.store, []runner.Queue{{Size: bucket.Daily}}, time.Minute, ""); err != nil {
		t.Fatal(err)
	}
	w.expect(t, states, "succeeded")
}

// TestAChainThatWaitsHoldsUpNoOther of the same metric, though its runs were requested first.
func TestAChainThatWaitsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "both.yaml", []byte(`{name: both, type: counter, chains: [testchain, other], bucket_sizes: [daily],
		calculation_logic: {stream: {event_type: block}}}`))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	for _, statement := range []string{
		"insert into stream_types (chain, event_type, stream) values ('other', 'block', 'others')",
		`insert into stream_watermarks (function, stream, entry_id, content_hash)
			values ('counter', 'others', '0-5', 'x'), ('archive', 'others', '0-3', 'x')`,
		`insert into runs (metric_id, bucket_size, chain, bucket_start, reason, requested_at)
			select metric_id, 'daily', c, '2024-02-01Z', 'backfill', at::timestamptz from metric_registry,
				(values ('other', '2024-01-01Z'), ('testchain', '2024-01-02Z')) v (c, at) where name = 'both'`,
	} {
		w.execute(t, statement)
	}
	if _, err := runner.Work(t.Context(), counter.Type{}, w.store, []runner.Queue{{Size: bucket.Daily}}, time.Minute, ""); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "select string_agg(chain || ' ' || state || ' ' || attempt, ', ' order by chain) from runs", "other queued 0, testchain succeeded 1")
}
