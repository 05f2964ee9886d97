package scheduler_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/chainmetrics/chainmetrics/functions/scheduler/scheduler"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestCollector has one of everything in the store.
func TestCollector(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(metrics))
	if _, err := database.Exec(t.Context(), pipeline.Troubles); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(scheduler.NewCollector(store, time.Now))
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	const want = `
# HELP chainmetrics_coverage_holes Holes between the blocks that the archive has.
# TYPE chainmetrics_coverage_holes gauge
chainmetrics_coverage_holes{chain="testchain",stream="s"} 1
# HELP chainmetrics_coverage_missing_blocks Blocks that those holes are.
# TYPE chainmetrics_coverage_missing_blocks gauge
chainmetrics_coverage_missing_blocks{chain="testchain",stream="s"} 10
# HELP chainmetrics_dead_letters Entries that could not be read, or were given up.
# TYPE chainmetrics_dead_letters gauge
chainmetrics_dead_letters 2
# HELP chainmetrics_dead_letters_newest_timestamp_seconds When the newest of them was recorded.
# TYPE chainmetrics_dead_letters_newest_timestamp_seconds gauge
chainmetrics_dead_letters_newest_timestamp_seconds 1.7067456e+09
# HELP chainmetrics_drift_newest_timestamp_seconds When that last happened.
# TYPE chainmetrics_drift_newest_timestamp_seconds gauge
chainmetrics_drift_newest_timestamp_seconds{bucket_size="hourly",metric="gas"} 1.7067456e+09
# HELP chainmetrics_drifts Windows of which a run has changed buckets though nothing explains it, in the last week.
# TYPE chainmetrics_drifts gauge
chainmetrics_drifts{bucket_size="hourly",metric="gas"} 2
# HELP chainmetrics_metric_errors Events that a metric's expressions have failed on, and observations without room.
# TYPE chainmetrics_metric_errors gauge
chainmetrics_metric_errors{metric="gas",stream="s"} 7
# HELP chainmetrics_metric_errors_newest_timestamp_seconds When the newest of them was counted.
# TYPE chainmetrics_metric_errors_newest_timestamp_seconds gauge
chainmetrics_metric_errors_newest_timestamp_seconds{metric="gas",stream="s"} 1.7067456e+09
# HELP chainmetrics_notices_given_up Notices that were refused so often that they are not sent any more.
# TYPE chainmetrics_notices_given_up gauge
chainmetrics_notices_given_up 1
# HELP chainmetrics_notifications_given_up Notifications that were given up in the last week.
# TYPE chainmetrics_notifications_given_up gauge
chainmetrics_notifications_given_up 1
# HELP chainmetrics_notifications_oldest_waiting_timestamp_seconds When the event of the oldest of them came.
# TYPE chainmetrics_notifications_oldest_waiting_timestamp_seconds gauge
chainmetrics_notifications_oldest_waiting_timestamp_seconds 1.7067456e+09
# HELP chainmetrics_notifications_waiting Notifications that nobody was told of yet.
# TYPE chainmetrics_notifications_waiting gauge
chainmetrics_notifications_waiting 1
# HELP chainmetrics_pending_ranges Ranges of entries that a function was moved over, of which no runs were requested yet.
# TYPE chainmetrics_pending_ranges gauge
chainmetrics_pending_ranges{function="counter",stream="s"} 1
chainmetrics_pending_ranges{function="gauge",stream="s"} 0
# HELP chainmetrics_pending_reverts Reorganisations of which a function still counts what was taken back.
# TYPE chainmetrics_pending_reverts gauge
chainmetrics_pending_reverts{function="counter",stream="s"} 1
# HELP chainmetrics_runs_failed Windows whose newest run has failed.
# TYPE chainmetrics_runs_failed gauge
chainmetrics_runs_failed{bucket_size="daily",metric="gas"} 1
# HELP chainmetrics_runs_late Runs without a result beyond the deadline of their metric.
# TYPE chainmetrics_runs_late gauge
chainmetrics_runs_late{bucket_size="hourly",function="counter"} 1
# HELP chainmetrics_runs_oldest_queued_timestamp_seconds When the oldest run was requested of those that wait and may be begun.
# TYPE chainmetrics_runs_oldest_queued_timestamp_seconds gauge
chainmetrics_runs_oldest_queued_timestamp_seconds{bucket_size="hourly",function="counter"} 1.7067456e+09
# HELP chainmetrics_runs_queued Runs that wait to be carried out, those of paused metrics aside.
# TYPE chainmetrics_runs_queued gauge
chainmetrics_runs_queued{bucket_size="hourly",function="counter"} 2
# HELP chainmetrics_runs_running Runs under way.
# TYPE chainmetrics_runs_running gauge
chainmetrics_runs_running{bucket_size="hourly",function="counter"} 1
# HELP chainmetrics_store_up Whether the store gave an answer, when it was last asked.
# TYPE chainmetrics_store_up gauge
chainmetrics_store_up 1
# HELP chainmetrics_stream_accepted_holes Losses of entries that a function goes on behind, since a person has accepted them.
# TYPE chainmetrics_stream_accepted_holes gauge
chainmetrics_stream_accepted_holes{function="counter",stream="s"} 1
# HELP chainmetrics_stream_detached Whether a function was detached from a stream, so that it stays behind on purpose.
# TYPE chainmetrics_stream_detached gauge
chainmetrics_stream_detached{function="gauge",stream="s"} 1
# HELP chainmetrics_stream_lag_seconds Chain time that a function lacks of what another one, the archive among them, has applied of the stream.
# TYPE chainmetrics_stream_lag_seconds gauge
chainmetrics_stream_lag_seconds{function="archive",stream="s"} 0
chainmetrics_stream_lag_seconds{function="counter",stream="s"} 3600
# HELP chainmetrics_stream_low_water_timestamp_seconds Chain time up to which a function has applied everything that is expected of a stream.
# TYPE chainmetrics_stream_low_water_timestamp_seconds gauge
chainmetrics_stream_low_water_timestamp_seconds{function="archive",stream="s"} 1.7067456e+09
chainmetrics_stream_low_water_timestamp_seconds{function="counter",stream="s"} 1.706742e+09
chainmetrics_stream_low_water_timestamp_seconds{function="gauge",stream="s"} 1.7066592e+09
`
	names := []string{}
	for line := range strings.Lines(want) {
		if name, ok := strings.CutPrefix(line, "# HELP "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// counted is a store that counts how often it is asked, and read.
type counted struct {
	asked, reads atomic.Int64
	down         error // fails both
	slow         error // fails readings
}

func (c *counted) Ping(context.Context) error {
	c.asked.Add(1)
	return c.down
}

func (c *counted) Observe(context.Context) (postgres.Observation, error) {
	c.reads.Add(1)
	return postgres.Observation{Troubles: postgres.Troubles{DeadLetters: c.reads.Load()}}, errors.Join(c.down, c.slow)
}

// TestCollectorOfAStoreThatIsAway shows what was read last, and when, and asks a store that is down or slow no more often than one
// that is neither.
func TestCollectorOfAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	store := &counted{down: errors.New("down")}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(scheduler.NewCollector(store, func() time.Time { return now }))
	type shown struct{ up, observed, letters float64 }
	expect := func(want shown, asked, reads int64) {
		t.Helper()
		found, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got shown
		for _, family := range found {
			value := family.GetMetric()[0].GetGauge().GetValue()
			switch family.GetName() {
			case "chainmetrics_store_up":
				got.up = value
			case "chainmetrics_store_observed_timestamp_seconds":
				got.observed = value
			case "chainmetrics_dead_letters":
				got.letters = value
			}
		}
		if got != want || store.asked.Load() != asked || store.reads.Load() != reads {
			t.Errorf("%v, asked %d times, read %d times; want %v, %d, %d", got, store.asked.Load(), store.reads.Load(), want, asked, reads)
		}
		if want.observed == 0 && len(found) != 1 {
			t.Errorf("nothing was read, and %d families are shown", len(found))
		}
	}
	expect(shown{}, 1, 0)
	expect(shown{}, 1, 0)
	store.down = nil
	expect(shown{}, 1, 0)
	now = now.Add(15 * time.Second)
	expect(shown{1, 1015, 1}, 2, 1)
	store.slow = errors.New("slow")
	now = now.Add(time.Second)
	expect(shown{1, 1015, 1}, 2, 1)
	now = now.Add(15 * time.Second)
	expect(shown{1, 1015, 1}, 3, 2)
	store.down = errors.New("down")
	now = now.Add(15 * time.Second)
	expect(shown{0, 1015, 1}, 4, 2)
	store.down, store.slow = nil, nil
	now = now.Add(15 * time.Second)
	expect(shown{1, 1061, 3}, 5, 3)
}

// TestCollectorOfASlowStore tells it from one that is down: something has locked what is read.
func TestCollectorOfASlowStore(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	lock, err := database.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "lock table dead_letters in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(scheduler.NewCollector(store, time.Now))
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP chainmetrics_store_up Whether the store gave an answer, when it was last asked.
# TYPE chainmetrics_store_up gauge
chainmetrics_store_up 1
`)); err != nil {
		t.Error(err)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCollectorWithoutServer answers in time.
func TestCollectorWithoutServer(t *testing.T) {
	t.Parallel()
	server := harness.PostgresServer(t)
	store := pipeline.Store(t, server.URL())
	if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(scheduler.NewCollector(store, time.Now))
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP chainmetrics_store_up Whether the store gave an answer, when it was last asked.
# TYPE chainmetrics_store_up gauge
chainmetrics_store_up 0
`)); err != nil {
		t.Error(err)
	}
}
