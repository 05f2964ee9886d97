package runner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// hold lets statements that a trigger's clause names, such as "before delete on windows", wait while a condition holds, until the
// lock is released.
func (w *world) hold(t *testing.T, clause, condition string) (release func()) {
	t.Helper()
	w.execute(t, `create function hold() returns trigger language plpgsql as $$ begin
		if `+condition+` then perform pg_advisory_xact_lock_shared(4711); end if; return null; end $$`)
	w.execute(t, "create trigger hold "+clause+" for each statement execute function hold()")
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

// awaitHeld returns when a statement waits.
func (w *world) awaitHeld(t *testing.T) {
	t.Helper()
	const held = `select count(*) from pg_locks join pg_database d on d.oid = database
		where datname = current_database() and locktype = 'advisory' and objid = 4711 and not granted`
	for w.text(t, held) == "0" {
		time.Sleep(10 * time.Millisecond)
	}
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
	release := w.hold(t, "before delete on windows", "true")
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
