package runner_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	stream  = "blockchain_events:testchain"
	metrics = `
name: gas
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [hourly, daily]
max_active_runs: 2
---
name: late_gas
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used, time: event.seen_at}}
chains: [testchain]
bucket_sizes: [daily]
`
)

var genesis = time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC)

// block is the entry of a block at a height, one every half hour, which uses as much gas as its epoch and height say.
func block(epoch, height uint64, predecessor events.ID) events.Delivery {
	at := genesis.Add(time.Duration(height) * 30 * time.Minute)
	hash := fmt.Sprintf("h%d-%d", epoch, height)
	entry, err := events.NewBlockEntry(events.ID{Major: epoch, Minor: height + 1}, events.Block{
		Chain: "testchain", Number: height, Hash: hash, ParentHash: "p", Time: at,
		Fields: map[string]any{
			"number": height, "hash": hash, "timestamp": at.Unix(), "gas_used": 1000*epoch + height, "seen_at": at.Unix() + 60,
		},
	}, at)
	if err != nil {
		panic(err)
	}
	return events.NewDelivery(stream, entry, predecessor)
}

func chain(epoch, from, to uint64, predecessor events.ID) (all []events.Delivery) {
	for height := from; height < to; height++ {
		all = append(all, block(epoch, height, predecessor))
		predecessor = all[len(all)-1].ID
	}
	return all
}

// world is a function and the archive over a database.
type world struct {
	store    *postgres.Store
	database *pgxpool.Pool
	function *runner.Function
	archive  *archive.Function
}

func newWorld(t *testing.T) *world {
	t.Helper()
	url := harness.Database(t)
	w := &world{store: pipeline.Store(t, url), database: pipeline.Database(t, url)}
	pipeline.Apply(t, w.store, "test.yaml", []byte(metrics))
	w.function = runner.NewFunction(counter.Type{}, w.store)
	w.archive = archive.NewFunction(archive.Config{}, w.store)
	return w
}

func (w *world) apply(t *testing.T, batch []events.Delivery) {
	t.Helper()
	if _, _, err := w.archive.Apply(t.Context(), stream, batch); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.function.Apply(t.Context(), stream, batch); err != nil {
		t.Fatal(err)
	}
}

// tick sends ticks of all sizes, long after the last block.
func (w *world) tick(t *testing.T) {
	t.Helper()
	for _, size := range []bucket.Size{bucket.Hourly, bucket.Daily} {
		tick := events.Tick{Function: "counter", BucketSize: size.String()}
		if err := w.function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) text(t *testing.T, query string) (text string) {
	t.Helper()
	if err := w.database.QueryRow(t.Context(), "select coalesce(("+query+")::text, '')").Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

func (w *world) expect(t *testing.T, query, want string) {
	t.Helper()
	if got := w.text(t, query); got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", query, got, want)
	}
}

const (
	runStates = `select string_agg(state || ' ' || n, ', ' order by state) from (select state, count(*) n from runs group by state) s`
	days      = `select string_agg(bucket_start::date || ' ' || value || ' ' || final, ', ' order by bucket_start)
		from metric_buckets where bucket_size = 'daily' and metric = 'gas'`
)

// TestWindowsAreDueWhenEverythingHasCome by the newest block, not by the clock, and 7 days later where times are made up.
func TestWindowsAreDueWhenEverythingHasCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{})) // two days and two hours
	w.tick(t)
	w.tick(t) // the second one finds nothing to do
	w.expect(t, days, "2024-01-31 1128 true, 2024-02-01 3432 true, 2024-02-02 390 false")
	w.expect(t, "select count(*) from metric_buckets where final and metric = 'late_gas'", "0")
	w.expect(t, runStates, "succeeded 53")                                                                               // 49 hours and 2 days of gas; of late_gas 2 days before it began
	w.expect(t, "select sum(changes) || ' ' || sum(observations) || ' ' || min(definition_version) from runs", "0 98 1") // what days are made of hours is not counted
	for height := uint64(100); height < 100+48*7; height += 100 {
		w.apply(t, chain(0, height, height+100, events.ID{Minor: height}))
	}
	w.tick(t)
	w.expect(t, "select count(*) from metric_buckets where final and metric = 'late_gas'", "3")
	w.expect(t, "select sum(changes) from runs", "0")
}

// TestRevertedWindowsAreComputedAgain, once the archive knows of the revert, also where they were final.
func TestRevertedWindowsAreComputedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	entry, err := events.NewRevertEntry(events.ID{Major: 1}, "testchain", events.Revert{Ancestor: events.ID{Minor: 91}, Number: 90, Hash: "h0-90"}, genesis)
	if err != nil {
		t.Fatal(err)
	}
	fork := []events.Delivery{events.NewDelivery(stream, entry, events.ID{Minor: 100})}
	fork = append(fork, chain(1, 91, 94, events.ID{Major: 1})...)
	if _, _, err := w.function.Apply(t.Context(), stream, fork); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.expect(t, "select count(*) from pending_reverts", "1") // the archive does not know yet
	if _, _, err := w.archive.Apply(t.Context(), stream, fork); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	// Runs that the archive was behind for are begun again after a while.
	if _, err := w.database.Exec(t.Context(), "update runs set not_before = now() where state = 'queued'"); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	// The new branch has not come as far as the old one had: what was final there is open.
	w.expect(t, "select max(bucket_end) from metric_buckets where final", "2024-02-01 22:00:00+00")
	w.expect(t, days, "2024-01-31 1128 true, 2024-02-01 6243 false")
	w.apply(t, chain(1, 94, 150, events.ID{Major: 1, Minor: 94}))
	w.tick(t)
	w.expect(t, "select count(*) from pending_reverts", "0")
	sum := func(from, to, epoch uint64) (sum uint64) {
		for height := from; height < to; height++ {
			sum += 1000*epoch + height
		}
		return sum
	}
	w.expect(t, days, fmt.Sprintf("2024-01-31 1128 true, 2024-02-01 %d true, 2024-02-02 %d true, 2024-02-03 %d false",
		sum(48, 91, 0)+sum(91, 96, 1), sum(96, 144, 1), sum(144, 150, 1)))
	w.expect(t, "select sum(value) from metric_buckets where metric = 'late_gas'", fmt.Sprint(sum(0, 91, 0)+sum(91, 150, 1)))
	w.expect(t, "select count(*) from runs where state <> 'succeeded'", "0")
}

// disturbed is a store with something between the beginning of a rebuild and its end.
type disturbed struct {
	*postgres.Store
	disturb func() error
}

func (d *disturbed) Archived(
	ctx context.Context, rebuild aggregate.Rebuild, query aggregate.EventQuery, each func(events.Event, events.ID) error,
) error {
	if err := d.disturb(); err != nil {
		return err
	}
	return d.Store.Archived(ctx, rebuild, query, each)
}

// work carries out what is queued of the daily size.
func (w *world) work(t *testing.T, disturb func() error) {
	t.Helper()
	store := &disturbed{w.store, disturb}
	if _, err := runner.Work(t.Context(), counter.Type{}, store, []runner.Queue{{Size: bucket.Daily}}, time.Minute, "test"); err != nil {
		t.Fatal(err)
	}
}

// TestALeaseThatHasRunOutIsWorthNothing: another process has taken the runs over, and its success is the only one.
func TestALeaseThatHasRunOutIsWorthNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	m, err := w.store.Metric(t.Context(), "gas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.AddDate(0, 0, 2)); err != nil {
		t.Fatal(err)
	}
	runOut := func() {
		t.Helper()
		const expire = "update runs set lease_until = now() - interval '1 s' where state = 'running'"
		if _, err := w.database.Exec(t.Context(), expire); err != nil {
			t.Fatal(err)
		}
		if claimed(t, w) != 0 {
			t.Error("what has run out is claimed at once")
		}
		if _, err := w.database.Exec(t.Context(), "update runs set not_before = now()"); err != nil {
			t.Fatal(err)
		}
	}
	first := true
	w.work(t, func() error {
		if !first {
			return nil
		}
		first = false
		runOut()
		if claimed(t, w) == 0 { // by another process, which begins later
			t.Error("what has run out cannot be claimed")
		}
		return nil
	})
	const shown = "select string_agg(state || ' ' || attempt, ', ' order by run_id) from runs"
	w.expect(t, shown, "running 2, succeeded 2")                                    // one by one, since they have failed
	w.expect(t, "select count(*) from windows where base_version is not null", "1") // nothing of the first one has been finished
	runOut()
	w.work(t, func() error { return nil })
	w.expect(t, shown, "succeeded 3, succeeded 2")
	w.expect(t, days, "2024-01-31 1128 true, 2024-02-01 3432 true, 2024-02-02 390 false")
	for range metric.DefaultRetries {
		if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if claimed(t, w) == 0 {
			t.Fatal("nothing is claimed")
		}
		runOut()
	}
	if claimed(t, w) == 0 {
		t.Fatal("nothing is claimed")
	}
	runOut()
	w.expect(t, "select state || ' ' || attempt from runs order by run_id desc limit 1", "failed 4") // its processes die
}

// TestWhatComesLateIsComputedOnceMore after its window was final.
func TestWhatComesLateIsComputedOnceMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	late := block(0, 20, events.ID{Minor: 100})
	late.ID = events.ID{Minor: 101}
	w.apply(t, []events.Delivery{late})
	w.expect(t, days, "2024-01-31 1148 false, 2024-02-01 3432 true, 2024-02-02 390 false")
	w.tick(t)
	w.expect(t, days, "2024-01-31 1148 true, 2024-02-01 3432 true, 2024-02-02 390 false")
	w.expect(t, "select string_agg(bucket_size || ' ' || state || ' ' || changes, ', ' order by run_id) from runs where reason = 'late'",
		"hourly succeeded 0, daily succeeded 0")
}

// TestWhatFailsIsTriedAgain later and later, three times; what the archive does not have is skipped.
func TestWhatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	request := func() {
		t.Helper()
		m, err := w.store.Metric(t.Context(), "gas")
		if err != nil {
			t.Fatal(err)
		}
		n, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.Add(time.Hour))
		if err != nil || n != 1 {
			t.Fatalf("%d requested, %v", n, err)
		}
	}
	request()
	broken := errors.New("broken")
	const shown = `select state || ' ' || attempt || ' ' || coalesce(error, '') || ' ' ||
		case when state = 'queued' then extract(epoch from date_trunc('minute', not_before - now() + interval '30 s')) / 60 else 0 end
		from runs order by run_id desc limit 1`
	for attempt, minutes := range []int{5, 10, 20} {
		w.work(t, func() error { return broken })
		w.expect(t, shown, fmt.Sprintf("queued %d rebuild gas daily: broken %d", attempt+1, minutes)+".0000000000000000")
		w.work(t, func() error { return broken }) // too early: nothing happens
		if _, err := w.database.Exec(t.Context(), "update runs set not_before = now()"); err != nil {
			t.Fatal(err)
		}
	}
	w.work(t, func() error { return broken })
	w.expect(t, shown, "failed 4 rebuild gas daily: broken 0")
	request()
	w.work(t, func() error { return nil })
	w.expect(t, shown, "succeeded 1  0")
	request()
	if _, err := w.database.Exec(t.Context(), "update stream_types set left_out = 7"); err != nil {
		t.Fatal(err)
	}
	w.work(t, func() error { return nil })
	w.expect(t, shown, "skipped 1 begin to rebuild: not archived: 7 events of type block were left out 0")
}

// TestARequestWhileARunIsUnderWay waits for it.
func TestARequestWhileARunIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	m, err := w.store.Metric(t.Context(), "gas")
	if err != nil {
		t.Fatal(err)
	}
	request := func() error {
		_, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.AddDate(0, 0, 2))
		return err
	}
	if err := request(); err != nil {
		t.Fatal(err)
	}
	asked := false
	w.work(t, func() error {
		if asked {
			return nil
		}
		asked = true
		if err := request(); err != nil {
			return err
		}
		w.expect(t, runStates, "queued 2, running 2")
		if diff := cmp.Diff(0, claimed(t, w)); diff != "" {
			t.Error(diff)
		}
		return nil
	})
	w.expect(t, runStates, "succeeded 4")
}

// claimed tries to claim runs beside those that are under way, and gives their lease.
func claimed(t *testing.T, w *world) int {
	t.Helper()
	claim, err := w.store.ClaimRuns(t.Context(), "counter", runner.Queue{Size: bucket.Daily},
		runner.Bounds{Lease: time.Minute, Runs: 10, Time: 240 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return int(claim.Span.Lease)
}
