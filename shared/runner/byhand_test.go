package runner_test

import (
	"errors"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

func (w *world) gas(t *testing.T) postgres.RegisteredMetric {
	t.Helper()
	m, err := w.store.Metric(t.Context(), "gas")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAPausedMetricHasNoRuns, neither of what is due nor of what is asked for, until it is resumed.
func TestAPausedMetricHasNoRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.store.PauseMetric(t.Context(), "gas"); err != nil {
		t.Fatal(err)
	}
	w.apply(t, chain(0, 0, 100, events.ID{}))
	m := w.gas(t)
	if m.PausedAt == nil {
		t.Error("the metric is not paused")
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.expect(t, days, "2024-01-31 1128 false, 2024-02-01 3432 false, 2024-02-02 390 false") // the stream goes on
	w.expect(t, "select string_agg(reason || ' ' || state, ', ') from runs join metric_registry using (metric_id) where name = 'gas'",
		"backfill queued")
	if err := w.store.ResumeMetric(t.Context(), "gas"); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.expect(t, days, "2024-01-31 1128 true, 2024-02-01 3432 true, 2024-02-02 390 false")
	w.expect(t, "select count(*) from runs where state <> 'succeeded'", "0")
	if err := w.store.PauseMetric(t.Context(), "none"); !errors.Is(err, postgres.ErrUnknownMetric) {
		t.Errorf("a metric that is unknown: %v", err)
	}
}

// TestClearedWindowsAreOpen until they are computed again.
func TestClearedWindowsAreOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	for range 2 { // the second time they are queued already
		n, err := w.store.ClearWindows(t.Context(), w.gas(t), bucket.Daily, genesis, genesis.AddDate(0, 0, 1))
		if err != nil || n != 1 {
			t.Fatalf("%d cleared, %v", n, err)
		}
	}
	w.expect(t, days, "2024-01-31 1128 false, 2024-02-01 3432 true, 2024-02-02 390 false")
	w.expect(t, "select count(*) from runs where reason = 'cleared' and state = 'queued'", "25") // with the hours of the day
	w.tick(t)
	w.expect(t, days, "2024-01-31 1128 true, 2024-02-01 3432 true, 2024-02-02 390 false")
}

// TestRetriedRunsAreQueuedOnce, with the reason that they had; those that have succeeded are not.
func TestRetriedRunsAreQueuedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	const last = "select run_id from runs where bucket_size = 'daily' and metric_id = 1 and bucket_start = '2024-01-31Z' order by run_id desc limit 1"
	var run int64
	if err := w.database.QueryRow(t.Context(), last).Scan(&run); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RetryRuns(t.Context(), []int64{run}); !errors.Is(err, postgres.ErrNoRetry) {
		t.Errorf("a run that has succeeded: %v", err)
	}
	if _, err := w.store.RetryRuns(t.Context(), []int64{1 << 40}); !errors.Is(err, postgres.ErrUnknownRun) {
		t.Errorf("a run that there is not: %v", err)
	}
	if _, err := w.database.Exec(t.Context(), "update runs set state = 'failed' where run_id = $1", run); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := w.store.RetryRuns(t.Context(), []int64{run}); err != nil || n != 1 {
			t.Errorf("%d queued, %v", n, err)
		}
	}
	w.expect(t, "select string_agg(reason, ',') from runs where state = 'queued'", "due")
	w.tick(t)
	w.expect(t, runStates, "failed 1, succeeded 53")
	// Of a window whose newest run has succeeded there is nothing to be tried again.
	if n, err := w.store.RetryEnded(t.Context(), "gas", runner.Failed); err != nil || n != 0 {
		t.Errorf("%d queued, %v", n, err)
	}
	if _, err := w.database.Exec(t.Context(), "update runs set state = 'skipped' where bucket_size = 'daily' and metric_id = 1"); err != nil {
		t.Fatal(err)
	}
	if n, err := w.store.RetryEnded(t.Context(), "", runner.Skipped); err != nil || n != 2 {
		t.Errorf("%d queued, %v", n, err)
	}
}

// TestWindowsAreComputedAtOnce, whatever else is queued, and not while others compute them.
func TestWindowsAreComputedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	if _, err := w.database.Exec(t.Context(), "delete from metrics_data"); err != nil {
		t.Fatal(err)
	}
	day := bucket.Daily.Window(genesis)
	span := aggregate.Span{Metric: w.gas(t).ID, Size: bucket.Daily, Chain: "testchain", From: day.Start, To: day.End}
	store := &disturbed{w.store, func() error {
		if err := runner.Now(t.Context(), counter.Type{}, w.store, span, ""); !errors.Is(err, runner.ErrUnderWay) {
			t.Errorf("beside another: %v", err)
		}
		return nil
	}}
	if err := runner.Now(t.Context(), counter.Type{}, store, span, "test"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, days, "2024-01-31 1128 true")
	w.expect(t, "select string_agg(state || ' ' || reason || ' ' || changes || ' ' || code_version, ',') from runs",
		"succeeded backfill 1 test")
	broken := errors.New("broken")
	store.disturb = func() error { return broken }
	if err := runner.Now(t.Context(), counter.Type{}, store, span, ""); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	w.expect(t, "select state || ' ' || error from runs order by run_id desc limit 1", "failed rebuild gas daily: broken")
}
