package runner_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// hold makes what a trigger's clause names wait until it is released, such as "before delete on windows for each statement".
func (w *world) hold(t *testing.T, clause string) (release func()) {
	t.Helper()
	w.execute(t, `create function hold() returns trigger language plpgsql as $$ begin
		perform pg_advisory_xact_lock_shared(4711); return new; end $$`)
	w.execute(t, "create trigger hold "+clause+" execute function hold()")
	conn, err := w.database.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	if _, err := conn.Exec(t.Context(), "select pg_advisory_lock(4711)"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := conn.Exec(t.Context(), "select pg_advisory_unlock(4711)"); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitHeld returns when something waits.
func (w *world) awaitHeld(t *testing.T) {
	t.Helper()
	const held = `select count(*) from pg_locks join pg_database d on d.oid = database
		where datname = current_database() and locktype = 'advisory' and objid = 4711 and not granted`
	for w.text(t, held) == "0" {
		time.Sleep(10 * time.Millisecond)
	}
}

// meanwhile does something until it waits for a lock, or has been done. The returned function awaits its end.
func (w *world) meanwhile(t *testing.T, do func()) (wait func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	const waiting = `select count(*) from pg_stat_activity
		where datname = current_database() and wait_event_type = 'Lock' and wait_event <> 'advisory'`
	for w.text(t, waiting) == "0" {
		select {
		case <-done:
			return func() {}
		case <-time.After(10 * time.Millisecond):
		}
	}
	return func() { <-done }
}

// TestADroppedSizeComesBack while what it had is being deleted: nothing is deleted that was computed since.
func TestADroppedSizeComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(later))
	w.apply(t, chain(0, 0, 150, events.ID{}))
	w.tick(t)
	const hours = "select count(*) || ' ' || sum(value) from metric_buckets where metric = 'later' and bucket_size = 'hourly'"
	w.expect(t, hours, "75 11175")
	release := w.hold(t, "before delete on windows for each statement")
	first := pipeline.Store(t, w.database.Config().ConnString())
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		pipeline.Apply(t, first, "later.yaml", []byte(strings.Replace(later, "hourly, ", "", 1)))
	}()
	w.awaitHeld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(later))
	w.tick(t)
	w.expect(t, hours, "75 11175")
	release()
	<-dropped
	w.tick(t)
	w.expect(t, hours, "75 11175")
}

// TestRetriesAreNotHistory that was requested: a metric that has changed gets all of it, though a run of a window in it was tried
// again before.
func TestRetriesAreNotHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 150, events.ID{}))
	pipeline.Apply(t, w.store, "later.yaml", []byte(later))
	w.tick(t)
	w.execute(t, `update runs set state = 'failed' where bucket_size = 'daily' and bucket_start = '2024-02-02Z'
		and metric_id = (select metric_id from metric_registry where name = 'later')`)
	pipeline.Apply(t, w.store, "later.yaml", []byte(strings.Replace(later, "event.gas_used", "2 * event.gas_used", 1)))
	if n, err := w.store.RetryEnded(t.Context(), "later", runner.Failed); err != nil || n != 1 {
		t.Fatalf("%d are tried again, %v", n, err)
	}
	w.tick(t)
	w.expect(t, laterDays, "2024-01-31 2256 true, 2024-02-01 6864 true, 2024-02-02 11472 true, 2024-02-03 1758 false")
}

const minutes = `
name: minutes
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [minutely]
`

// requestMinutes has the history of minutes requested by another process, which waits at a window until the returned function is
// called. 10,000 are one transaction.
func (w *world) requestMinutes(t *testing.T, blocks uint64, at string) (goOn func()) {
	t.Helper()
	w.apply(t, chain(0, 0, blocks, events.ID{}))
	pipeline.Apply(t, w.store, "minutes.yaml", []byte(minutes))
	release := w.hold(t, "before insert on runs for each row when (new.reason = 'history' and new.bucket_start = '"+at+"')")
	sweep := pipeline.Store(t, w.database.Config().ConnString())
	requested := make(chan error, 1)
	go func() { requested <- sweep.RequestHistory(t.Context(), "counter", genesis.AddDate(1, 0, 0)) }()
	w.awaitHeld(t)
	return func() {
		t.Helper()
		release()
		if err := <-requested; err != nil {
			t.Fatal(err)
		}
	}
}

const minuteRuns = `select count(*) || ' ' || coalesce(min(bucket_start)::text, '')
	from runs join metric_registry using (metric_id) where name = 'minutes' and state = 'queued'`

// TestAChangeWhileHistoryIsRequested begins a history of its own, of which nothing was requested yet.
func TestAChangeWhileHistoryIsRequested(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	goOn := w.requestMinutes(t, 700, "2024-02-07Z") // the 10,081st of 20,971 windows
	changed := w.meanwhile(t, func() {
		pipeline.Apply(t, w.store, "minutes.yaml", []byte(strings.Replace(minutes, "event.gas_used", "2 * event.gas_used", 1)))
	})
	goOn()
	changed()
	w.execute(t, "update runs set state = 'succeeded'")
	if err := w.store.RequestHistory(t.Context(), "counter", genesis.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	w.expect(t, minuteRuns, "20971 2024-01-31 00:00:00+00")
	w.expect(t, "select count(*) from pending_ranges", "0")
}

// TestHistoryGoesOn where it was cut short.
func TestHistoryGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 384, events.ID{}))
	pipeline.Apply(t, w.store, "minutes.yaml", []byte(minutes))
	w.execute(t, "alter table runs add constraint broken check (bucket_start < '2024-02-07Z')")
	if err := w.store.RequestHistory(t.Context(), "counter", genesis.AddDate(1, 0, 0)); err == nil {
		t.Error("no error")
	}
	w.execute(t, "alter table runs drop constraint broken")
	w.execute(t, "update runs set state = 'succeeded'")
	pipeline.Apply(t, w.store, "minutes.yaml", []byte(minutes+"description: changes nothing\n"))
	if err := w.store.RequestHistory(t.Context(), "counter", genesis.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	w.expect(t, minuteRuns, "1491 2024-02-06 22:40:00+00")
	w.expect(t, "select count(*) from pending_ranges", "0")
}

// TestAReorganisationWhileHistoryIsRequested has the windows of what it took back due once more.
func TestAReorganisationWhileHistoryIsRequested(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	goOn := w.requestMinutes(t, 384, "2024-02-07Z")
	entry, err := events.NewRevertEntry(events.ID{Major: 1}, "testchain",
		events.Revert{Ancestor: events.ID{Minor: 373}, Number: 372, Hash: "h0-372"}, genesis)
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, []events.Delivery{events.NewDelivery(stream, entry, events.ID{Minor: 384})})
	reverted := w.meanwhile(t, func() {
		if err := w.store.RequestReverted(t.Context(), "counter"); err != nil {
			t.Error(err)
		}
	})
	goOn()
	reverted()
	w.expect(t, "select requested_until from schedules join metric_registry using (metric_id) where name = 'minutes'",
		"2024-02-07 18:30:00+00")
}

// TestBucketsOfAnotherEventType are computed again wherever they are: before the first event of the new type, and after the last;
// also where there was none, or none ever comes.
func TestBucketsOfAnotherEventType(t *testing.T) {
	t.Parallel()
	const (
		open  = "blockchain_events:open"
		sales = `
name: sales
type: counter
calculation_logic: {stream: {event_type: sale, value: event.amount}}
chains: [testchain]
bucket_sizes: [hourly, daily]
`
	)
	for eventType, want := range map[string]string{"auction": "6 7 8", "void": "", "later": "13"} {
		t.Run(eventType, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			pipeline.Apply(t, w.store, "sales.yaml", []byte(sales))
			apply := func(n uint64, kind string) { // on the day after genesis that n says
				t.Helper()
				at := genesis.AddDate(0, 0, int(n))
				batch := []events.Delivery{{
					Stream: open, ID: events.ID{Minor: n}, Predecessor: events.ID{Minor: n - 1}, Type: events.TypeEvent,
					Hash: fmt.Sprintf("%064x", n), Chain: "testchain", Time: at, Appended: at.Add(time.Minute),
					Data: fmt.Appendf(nil, `{"type": %q, "chain": "testchain", "timestamp": %d, "amount": %d}`, kind, at.Unix(), n),
				}}
				if _, _, err := w.archive.Apply(t.Context(), open, batch); err != nil {
					t.Fatal(err)
				}
				if _, _, err := w.function.Apply(t.Context(), open, batch); err != nil {
					t.Fatal(err)
				}
			}
			for n := range uint64(12) {
				kind := "sale"
				if n+1 >= 6 && n+1 <= 8 {
					kind = "auction"
				}
				apply(n+1, kind)
			}
			w.tick(t)
			const values = `select string_agg(value::text, ' ' order by bucket_start) from metric_buckets
				where metric = 'sales' and bucket_size = 'daily'`
			w.expect(t, values, "1 2 3 4 5 9 10 11 12")
			w.execute(t, "insert into stream_types (stream, chain, event_type) values ('"+open+"', 'testchain', 'void')")
			pipeline.Apply(t, w.store, "sales.yaml", []byte(strings.Replace(sales, "type: sale,", "type: "+eventType+",", 1)))
			w.tick(t)
			if eventType == "later" { // no stream has brought it yet
				w.expect(t, values, "1 2 3 4 5 9 10 11 12")
				apply(13, eventType)
				w.tick(t)
				apply(14, "sale")
				w.tick(t)
			}
			w.expect(t, values, want)
			w.expect(t, strings.Replace(values, "daily", "hourly", 1), want)
			w.expect(t, "select count(*) from pending_ranges", "0")
		})
	}
}

// TestBucketsBeforeTheStart of a metric, which the stream has brought, are computed again by another calculation, and no other
// windows there.
func TestBucketsBeforeTheStart(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"start date": "start_date: 2024-02-03\n", "no catch-up": "catchup: false\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(t, chain(0, 0, 60, events.ID{}))
			pipeline.Apply(t, w.store, "later.yaml", []byte(later+line))
			w.apply(t, chain(0, 60, 150, events.ID{Minor: 60}))
			w.tick(t)
			pipeline.Apply(t, w.store, "later.yaml", []byte(strings.Replace(later, "event.gas_used", "2 * event.gas_used", 1)+line))
			w.tick(t)
			w.expect(t, laterDays, "2024-02-01 6864 true, 2024-02-02 11472 true, 2024-02-03 1758 false")
		})
	}
}
