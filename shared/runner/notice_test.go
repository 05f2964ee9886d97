package runner_test

import (
	"errors"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// told counts the notices in the outbox by their types, without what all types have in common.
const told = `select string_agg(type || ' ' || n, ', ' order by type) from (
	select replace(replace(type, 'dev.chainmetrics.', ''), '.v1', '') || coalesce(' ' || (details ->> 'reason'), '') as type, count(*) n
	from outbox where type <> 'dev.chainmetrics.metric.changed.v1' group by 1) s`

// forget empties the outbox.
func (w *world) forget(t *testing.T) {
	t.Helper()
	w.execute(t, "delete from outbox")
}

func (w *world) execute(t *testing.T, statement string) {
	t.Helper()
	if _, err := w.database.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// request queues runs of the first days.
func (w *world) request(t *testing.T, metric string, days int) {
	t.Helper()
	m, err := w.store.Metric(t.Context(), metric)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.AddDate(0, 0, days)); err != nil {
		t.Fatal(err)
	}
}

// TestNoticesOfWindows: one when a window becomes final, one when it is no longer; drift is what nothing explains.
func TestNoticesOfWindows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.tick(t)
	w.expect(t, told, "bucket.finalized 53")
	w.expect(t, `select count(*) from outbox o join metric_registry m on m.name = o.metric
		join windows w using (metric_id, bucket_size, bucket_start, chain) join runs r using (run_id)
		where w.final and r.bucket_start = o.bucket_start and (o.details ->> 'observations') is not distinct from r.observations::text`, "53")
	w.forget(t)

	late := block(0, 20, events.ID{Minor: 100})
	late.ID = events.ID{Minor: 101}
	w.apply(t, []events.Delivery{late})
	w.expect(t, told, "bucket.revised late 2")
	w.tick(t)
	w.expect(t, told, "bucket.finalized 2, bucket.revised late 2")
	w.forget(t)

	w.request(t, "gas", 2)
	w.work(t, func() error { return nil })
	w.expect(t, told, "") // they were final, and are what they were
	w.execute(t, `update metrics_data set state = (select state from metrics_data where bucket_size = 'hourly' limit 1)
		where bucket_size = 'daily' and bucket_start = '2024-01-31Z'`)
	w.request(t, "gas", 2)
	w.work(t, func() error { return nil })
	w.expect(t, told, "bucket.drifted 1, bucket.revised rebuilt 1")
	w.expect(t, "select string_agg(bucket_start::date || ' ' || (details ->> 'changes'), ', ') from outbox where run_id is not null",
		"2024-01-31 1, 2024-01-31 1")
	w.forget(t)

	w.execute(t, `update metrics_data set state = (select state from metrics_data where bucket_size = 'hourly' limit 1)
		where bucket_size = 'daily' and bucket_start = '2024-01-31Z'`)
	if _, err := w.store.ClearWindows(t.Context(), w.gas(t), bucket.Daily, genesis, genesis.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	w.work(t, func() error { return nil })
	w.expect(t, told, "bucket.drifted 1, bucket.finalized 1, bucket.revised cleared 25") // a doubt explains nothing
}

// TestNoDriftIsToldOfWhatIsExpected: of the buckets of a metric that came later than its events, and of what was reverted before a
// run that was queued for another reason.
func TestNoDriftIsToldOfWhatIsExpected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	const newcomer = `
name: blocks
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [daily]
`
	pipeline.Apply(t, w.store, "newcomer.yaml", []byte(newcomer))
	w.request(t, "blocks", 2)
	w.request(t, "gas", 2)
	entry, err := events.NewRevertEntry(events.ID{Major: 1}, "testchain", events.Revert{Ancestor: events.ID{Minor: 51}, Number: 50, Hash: "h0-50"}, genesis)
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, []events.Delivery{events.NewDelivery(stream, entry, events.ID{Minor: 100})})
	w.apply(t, chain(1, 51, 100, events.ID{Major: 1}))
	if err := w.store.RequestReverted(t.Context(), "counter"); err != nil {
		t.Fatal(err)
	}
	// That a person doubts what is queued as reverted does not make it unexplained.
	if _, err := w.store.ClearWindows(t.Context(), w.gas(t), bucket.Daily, genesis, genesis.AddDate(0, 0, 2)); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.expect(t, "select count(*) from runs where state <> 'succeeded'", "0")
	w.expect(t, "select string_agg(distinct reason, ', ') from runs where changes > 0 and metric_id = 1", "reverted")
	w.expect(t, "select sum(changes) from runs where metric_id = 3", "2")
	w.expect(t, `select count(*) from outbox where type ~ 'drifted|revised'`, "0")

	// What is not the state of its events when it is computed first has drifted where the metric has counted from the beginning.
	w = newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.execute(t, "update metrics_data set state = (select state from metrics_data where bucket_size = 'hourly' limit 1) where bucket_size = 'daily'")
	w.tick(t)
	w.expect(t, "select count(*) from outbox where type ~ 'drifted' and bucket_size = 'daily'", "2")
}

// TestNoticesOfReverts: windows that were final are to be computed again, and told of once; those that were not
// have nothing to take back.
func TestNoticesOfReverts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	const revised = `select string_agg(reason || ' ' || bucket_size || ' ' || n, ', ' order by reason, bucket_size desc) from (
		select details ->> 'reason' as reason, bucket_size, count(*) n from outbox where type ~ 'revised' and metric = 'gas' group by 1, 2) s`
	forked := genesis.Add(91 * 30 * time.Minute)
	for epoch, predecessor := range []events.ID{{Minor: 100}, {Major: 1, Minor: 92}} {
		id := events.ID{Major: uint64(epoch) + 1}
		revert := events.Revert{Ancestor: events.ID{Minor: 91}, Number: 90, Hash: "h0-90"}
		entry, err := events.NewRevertEntry(id, "testchain", revert, forked)
		if err != nil {
			t.Fatal(err)
		}
		w.apply(t, []events.Delivery{events.NewDelivery(stream, entry, predecessor)})
		w.apply(t, chain(id.Major, 91, 92, id))
		w.tick(t)
		w.expect(t, revised, "late hourly 1, late daily 1, reverted hourly 3") // from 21:00 to 01:00, and the second day
	}
	w.expect(t, "select count(*) from outbox where type ~ 'drifted'", "0")
}

// asked has a metric ask to be told of attempts that have failed.
const asked = `update metric_registry set definition = definition || '{"email_on_retry": true}' where name = 'gas'`

// TestRunsThatFailAreToldOfOnce, when they are not begun again.
func TestRunsThatFailAreToldOfOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.execute(t, asked)
	w.request(t, "gas", 1)
	const failed = `select string_agg(metric || ' ' || bucket_start::date || ' ' || details::text, ', ') from outbox where type ~ 'run.failed'`
	for range 4 {
		w.expect(t, failed, "")
		w.work(t, func() error { return errors.New("broken") })
		w.execute(t, "update runs set not_before = now()")
	}
	w.expect(t, failed, `gas 2024-01-31 {"error": "rebuild gas daily: broken", "reason": "backfill", "attempt": 4}`)
	const retried = `select string_agg(metric || ' ' || (details ->> 'attempt') || ' ' || (details ->> 'reason') || ' ' || (details ->> 'error')
			|| ' ' || 10 * round(extract(epoch from (details ->> 'next_attempt_at')::timestamptz - created_at) / 10) || ' s',
			', ' order by outbox_id) from outbox where type ~ 'run.retried'`
	w.expect(t, retried, "gas 1 backfill rebuild gas daily: broken 300 s, gas 2 backfill rebuild gas daily: broken 600 s, "+
		"gas 3 backfill rebuild gas daily: broken 1200 s")
	w.forget(t)

	w.request(t, "gas", 1)
	w.execute(t, "update runs set state = 'running', lease = 1, lease_until = now() - interval '1 s', attempt = 1 where state = 'queued'")
	if err := w.store.RequeueExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(t, retried, "gas 1 backfill the process that had begun it has not ended it in time 10 s")
	w.expect(t, failed, "")
	w.execute(t, "update runs set state = 'running', lease = 1, lease_until = now() - interval '1 s', attempt = 4 where state = 'queued'")
	for range 2 {
		if err := w.store.RequeueExpired(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(t, failed, `gas 2024-01-31 {"error": "the process that had begun it has not ended it in time", "reason": "backfill", "attempt": 4}`)
}

// TestAttemptsAreToldWhereTheMetricAsks and nowhere else.
func TestAttemptsAreToldWhereTheMetricAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	for _, says := range []string{`{}`, `{"email_on_retry": false}`} {
		w.execute(t, "update metric_registry set definition = definition || '"+says+"' where name = 'gas'")
		w.request(t, "gas", 1)
		w.work(t, func() error { return errors.New("broken") })
		w.execute(t, "update runs set state = 'running', lease = 1, lease_until = now() - interval '1 s', attempt = 1 where state = 'queued'")
		if err := w.store.RequeueExpired(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "select string_agg(distinct state, ' ') from runs where error is not null", "queued")
		w.expect(t, "select count(*) from outbox where type ~ 'run.retried'", "0")
	}
}

// TestAttemptsThatDoNotCountAreNotTold, nor those of a run in whose place another is queued.
func TestAttemptsThatDoNotCountAreNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.execute(t, asked)
	for name, test := range map[string]struct {
		free  bool
		again bool // it is requested while it is under way
	}{"free": {true, false}, "replaced": {false, true}} {
		w.request(t, "gas", 1)
		w.execute(t, "update runs set not_before = now()")
		claim, err := w.store.ClaimRuns(t.Context(), "counter", runner.Queue{Size: bucket.Daily}, runner.Bounds{Lease: time.Minute, Runs: 1, Time: time.Hour})
		if err != nil || claim.Span.Lease == 0 {
			t.Fatalf("%s: %+v, %v", name, claim, err)
		}
		if test.again {
			w.request(t, "gas", 1)
		}
		if err := w.store.EndRuns(t.Context(), claim, runner.End{State: runner.Queued, Free: test.free, Error: "broken"}); err != nil {
			t.Fatal(err)
		}
		w.expect(t, told, "")
	}
}

// TestMetricsThatChangeAreToldOf, those that stay as they are not.
func TestMetricsThatChangeAreToldOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const shown = "select string_agg(metric || ' ' || (details ->> 'change') || ' ' || (details ->> 'version'), ', ' order by outbox_id) from outbox"
	w.expect(t, shown, "gas created 1, late_gas created 1")
	w.forget(t)
	const described = `
name: gas
type: counter
description: Gas used
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [hourly, daily]
`
	for range 2 {
		pipeline.Apply(t, w.store, "test.yaml", []byte(described))
	}
	w.expect(t, shown, "gas updated 2")
	if _, err := w.store.DeleteMetric(t.Context(), "gas"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, shown, "gas updated 2, gas deleted 2")
}

// TestWhatIsLateIsToldOnce, after the deadline, but not of a metric that is paused.
func TestWhatIsLateIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(later+"deadline: 1h30m\n"))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.request(t, "later", 2)
	w.request(t, "gas", 2) // which has no deadline
	tell := func(want string) {
		t.Helper()
		if err := w.store.TellLate(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.expect(t, told, want)
	}
	tell("")
	w.execute(t, "update runs set requested_at = now() - interval '89 m'")
	tell("")
	w.execute(t, "update runs set requested_at = now() - interval '91 m'")
	w.execute(t, "update metric_registry set paused_at = now()")
	tell("")
	w.execute(t, "update metric_registry set paused_at = null")
	tell("run.late 2")
	tell("run.late 2")
	w.expect(t, `select string_agg(date_trunc('minute', now() - (details ->> 'deadline')::timestamptz)::text, ' ') from outbox
		where type ~ 'late'`, "00:01:00 00:01:00")
}
