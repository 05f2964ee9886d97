package runner_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const dueRuns = `select string_agg(name || ' ' || day || ' ' || n, ', ' order by name, day) from (
	select name, bucket_start::date as day, count(*) n from runs join metric_registry using (metric_id)
	where bucket_size = 'hourly' and reason = 'due' group by 1, 2) s`

// TestRunsBetweenTwoBranches, while nothing has come of the new one, put windows right, and confirm those from which nothing was
// taken back. What comes after them is not computed again.
func TestRunsBetweenTwoBranches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.apply(t, []events.Delivery{revertTo(t, 96, events.ID{Minor: 100})})
	w.tick(t)
	w.execute(t, `update metrics_data set state = (select state from metrics_data where bucket_size = 'daily' limit 1), value = 7
		where bucket_size = 'hourly' and bucket_start = '2024-01-31 01:00Z'`)
	if _, err := w.store.ClearWindows(t.Context(), w.gas(t), bucket.Hourly, genesis, genesis.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.expect(t, "select count(*) from runs where state <> 'succeeded'", "0")
	const hour = "select value || ' ' || final from metric_buckets where bucket_size = 'hourly' and bucket_start = '2024-01-31 01:00Z'"
	w.expect(t, hour, "5 true")
	const open = "select string_agg(bucket_start::text, ', ') from metric_buckets where bucket_size = 'hourly' and not final"
	w.expect(t, open, "2024-02-02 00:00:00+00") // of which block 97 was taken back
	w.apply(t, chain(1, 97, 120, events.ID{Major: 1}))
	w.tick(t)
	w.expect(t, open, "2024-02-02 11:00:00+00")
	w.expect(t, dueRuns, "gas 2024-01-31 24, gas 2024-02-01 24, gas 2024-02-02 12")
}

// TestReorganisationsBeforeTheStart of a metric have none of its windows computed that begin earlier and were not final.
func TestReorganisationsBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(later+"start_date: 2024-02-01\n"))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.expect(t, dueRuns, "gas 2024-01-31 24, gas 2024-02-01 24, gas 2024-02-02 1, later 2024-02-01 24, later 2024-02-02 1")
	w.apply(t, []events.Delivery{revertTo(t, 20, events.ID{Minor: 100})})
	w.tick(t)
	w.apply(t, chain(1, 21, 100, events.ID{Major: 1}))
	w.tick(t)
	w.expect(t, dueRuns, "gas 2024-01-31 38, gas 2024-02-01 48, gas 2024-02-02 2, later 2024-02-01 48, later 2024-02-02 2")
	w.expect(t, "select count(*) from schedules where bucket_size = 'hourly' and requested_until = '2024-02-02 01:00Z'", "2")
}

// TestWhatIsRevertedAndWhatIsDueAreRequestedAtOnce by two processes, of the same windows.
func TestWhatIsRevertedAndWhatIsDueAreRequestedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.apply(t, []events.Delivery{revertTo(t, 90, events.ID{Minor: 100})})
	w.apply(t, chain(1, 91, 110, events.ID{Major: 1}))
	// What is due is requested as far as its schedule, and waits there for a lock that the test has.
	held, err := w.database.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // of no consequence
	w.execute(t, `create function wait() returns trigger language plpgsql
		as $$ begin perform pg_advisory_xact_lock(1); return null; end $$`)
	w.execute(t, "create trigger wait after update on schedules execute function wait()")
	if _, err := held.Exec(t.Context(), "select pg_advisory_xact_lock(1)"); err != nil {
		t.Fatal(err)
	}
	var going sync.WaitGroup
	until := func(waiting string, do func() error) { // so many wait, or it is done
		done := make(chan struct{})
		going.Go(func() {
			defer close(done)
			if err := do(); err != nil {
				t.Error(err)
			}
		})
		const count = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
		for w.text(t, count) != waiting {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}
	until("1", func() error {
		_, err := w.store.RequestDue(t.Context(), "counter", "", bucket.Hourly, genesis.AddDate(1, 0, 0))
		return err
	})
	until("2", func() error { return w.store.RequestReverted(t.Context(), "counter") })
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	going.Wait()
	w.tick(t)
	w.expect(t, "select min(bucket_start) from metric_buckets where bucket_size = 'hourly' and not final", "2024-02-02 06:00:00+00")
	w.expect(t, "select sum(value) from metric_buckets where bucket_size = 'hourly'", "24995")
}
