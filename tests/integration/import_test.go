package integration_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// applyEnd lets the archive and the counter apply the blocks of a file from a height on, as of a feed that began there.
func applyEnd(t *testing.T, store *postgres.Store, file string, from int) {
	t.Helper()
	feed := postgres.Stream{Name: pipeline.Stream, Mode: postgres.ModeFeed, Chain: "bitcoin"}
	if err := store.RegisterStream(t.Context(), feed); err != nil {
		t.Fatal(err)
	}
	var batch []events.Delivery
	var last events.ID
	for _, b := range pipeline.Blocks(t, file)[from:] {
		block := b.Event()
		block.Chain = "bitcoin"
		entry, err := events.NewBlockEntry(events.ID{Minor: b.Number + 1}, block, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		batch, last = append(batch, events.NewDelivery(pipeline.Stream, entry, last)), entry.ID
	}
	if _, _, err := archive.NewFunction(archive.Config{}, store).Apply(t.Context(), pipeline.Stream, batch); err != nil {
		t.Fatal(err)
	}
	if _, _, err := runner.NewFunction(counter.Type{}, store).Apply(t.Context(), pipeline.Stream, batch); err != nil {
		t.Fatal(err)
	}
}

// barrier holds the row of the counter, which an import locks in each of its transactions when it has copied what it imports.
type barrier struct{ held pgx.Tx }

// newBarrier waits for the row. It lets it go with the test at last.
func newBarrier(t *testing.T, database *pgxpool.Pool) (barrier, error) {
	t.Helper()
	tx, err := database.Begin(t.Context())
	if err != nil {
		return barrier{}, err
	}
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }) // it may be over
	_, err = tx.Exec(t.Context(), "select from stream_watermarks where function = 'counter' for update")
	return barrier{tx}, err
}

func (b barrier) lift(t *testing.T) {
	t.Helper()
	if err := b.held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestImportsThatAreCutShort, killed in a transaction, or stopped there until the database has ended it, are done once more, and leave
// what a single one would have: buckets as of a stream with all blocks, every window computed once.
func TestImportsThatAreCutShort(t *testing.T) {
	t.Parallel()
	const blocks, imported = 640, 600
	databaseURL := harness.Database(t)
	store, database := pipeline.Store(t, databaseURL), pipeline.Database(t, databaseURL)
	file := pipeline.Beginning(t, blocks)
	expected := pipeline.Expected(t, file, "counter")
	applyCoarse(t, store, expected, bucket.Daily, "counter")
	applyEnd(t, store, file, imported)

	imports := func(name, idle string) *pipeline.Program {
		t.Helper()
		p := pipeline.NewProgram(t, name, harness.Build(t, "cmd/chainmetrics"), map[string]string{
			"POSTGRES_URL": databaseURL, "POSTGRES_APPLICATION_NAME": name,
			"POSTGRES_IDLE_TIMEOUT": idle, "POSTGRES_LOCK_TIMEOUT": "30s",
		})
		p.Arguments = []string{"import", file}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	number := func(query string, arguments ...any) (n int) {
		t.Helper()
		if err := database.QueryRow(t.Context(), query, arguments...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const sessions = "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1 and "
	await := func(name, what string) {
		t.Helper()
		pipeline.Eventually(t, 30*time.Second, name+" has a session where "+what, func() bool { return number(sessions+what, name) > 0 })
	}
	const waits = "wait_event_type = 'Lock'"
	kept := func(want int) {
		t.Helper()
		if n := number("select count(*) from imported_entries"); n != want {
			t.Errorf("%d blocks are imported, want %d", n, want)
		}
	}

	// behind queues for the row behind what waits for it, and gives what takes the row after that.
	var queued sync.WaitGroup
	t.Cleanup(queued.Wait)
	behind := func() (next chan barrier) {
		t.Helper()
		next = make(chan barrier, 1)
		queued.Go(func() {
			b, err := newBarrier(t, database)
			if err != nil {
				t.Error(err)
			}
			next <- b
		})
		pipeline.Eventually(t, 30*time.Second, "two wait for the row", func() bool {
			return number("select count(*) from pg_stat_activity where datname = current_database() and "+waits) == 2
		})
		return next
	}

	first, err := newBarrier(t, database)
	if err != nil {
		t.Fatal(err)
	}
	killed := imports("killed", "30s")
	await("killed", waits)
	next := behind()
	first.lift(t)
	second := <-next
	await("killed", waits) // in its second transaction
	kept(500)
	next = behind()
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	second.lift(t)
	third := <-next
	stopped := imports("stopped", "2s")
	await("stopped", waits)
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	third.lift(t)
	await("stopped", "state = 'idle in transaction'")
	kept(500)
	again := imports("again", "30s")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := again.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	kept(imported)
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := stopped.Wait(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("an import whose transaction was ended says %v", err)
	}
	kept(imported)

	function, url := pipeline.Function(t, "counter", harness.Build(t, "functions/counter"), databaseURL, map[string]string{"DELIVERY_TIMEOUT": "100s"})
	if err := function.Start(); err != nil {
		t.Fatal(err)
	}
	pipeline.AwaitReady(t, url)
	carryOut(t, database, map[string]string{"counter": url}, "counter")
	if diff := pipeline.Differences(t, database, expected); diff != "" {
		t.Error(diff)
	}
	for query, want := range map[string]int{
		"select count(*) from runs where state <> 'succeeded'":                                                                 0,
		"select count(*) - count(distinct (metric_id, bucket_size, bucket_start)) from runs":                                   0,
		"select count(*) from metric_buckets where not final and bucket_end <= (select min(low_water) from stream_watermarks)": 0,
		"select count(*) from coverage_segments where from_height = 0 and to_height = " + fmt.Sprint(blocks-1):                 1,
		"select count(*) from outbox where type ~ 'drifted|failed'":                                                            0,
	} {
		if n := number(query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}
