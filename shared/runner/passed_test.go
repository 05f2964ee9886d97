package runner_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// settle ticks until no run is queued; those that wait for something are begun again at once.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for queued := int64(1); queued > 0; {
		w.tick(t)
		tag, err := w.database.Exec(t.Context(), "update runs set not_before = now() where state = 'queued'")
		if err != nil {
			t.Fatal(err)
		}
		queued = tag.RowsAffected()
	}
}

func (w *world) archiveAll(t *testing.T, batch []events.Delivery) {
	t.Helper()
	if _, _, err := w.archive.Apply(t.Context(), stream, batch); err != nil {
		t.Fatal(err)
	}
}

// forked is a chain of 100 blocks whose last 50 are taken back, and which has 150 in the end.
func forked(t *testing.T) []events.Delivery {
	t.Helper()
	revert, err := events.NewRevertEntry(events.ID{Major: 1}, "testchain",
		events.Revert{Ancestor: events.ID{Minor: 50}, Number: 49, Hash: "h0-49"}, genesis)
	if err != nil {
		t.Fatal(err)
	}
	all := append(chain(0, 0, 100, events.ID{}), events.NewDelivery(stream, revert, events.ID{Minor: 100}))
	return append(all, chain(1, 50, 150, events.ID{Major: 1})...)
}

// shown is every bucket, and whether its window is final.
const shown = `select string_agg(concat_ws(' ', metric, bucket_size, bucket_start, value, final), e'\n' order by metric, bucket_size, bucket_start)
	from metric_buckets`

// TestAFunctionThatWasAway is handed over at some place, and then has the buckets of one that never was away: also where the
// windows that it lacks were final, where a reorganisation has taken back what it had counted, and where it has begun nothing.
func TestAFunctionThatWasAway(t *testing.T) {
	t.Parallel()
	all := forked(t)
	present := newWorld(t)
	for _, part := range [][]events.Delivery{all[:60], all[60:150], all[150:]} {
		present.apply(t, part)
		present.settle(t)
	}
	want := present.text(t, shown)
	for name, away := range map[string][2]int{
		"over the reorganisation": {60, 130}, "to the end": {60, len(all)}, "since the beginning": {0, 150}, "to the revert": {99, 101}, "before it": {20, 90},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			from, to := away[0], away[1]
			if from > 0 {
				w.apply(t, all[:from])
			} else if _, err := w.store.Registry(t.Context(), "counter", stream); err != nil { // which makes its row
				t.Fatal(err)
			}
			w.settle(t)
			w.archiveAll(t, all[from:to])
			var mark events.ID
			if from > 0 {
				mark = all[from-1].ID
			}
			until, err := w.store.HandOver(t.Context(), "counter", stream, mark)
			if err != nil || until != all[to-1].ID {
				t.Fatalf("handed over to %s, %v", until, err)
			}
			// Until the range is resolved nothing is computed.
			m, err := w.store.Metric(t.Context(), "gas")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.AddDate(0, 0, 1)); err != nil {
				t.Fatal(err)
			}
			w.work(t, func() error { t.Error("a window is computed while its range is pending"); return nil })
			w.settle(t)
			w.expect(t, "select count(*) from pending_ranges", "0")
			if to < len(all) {
				w.apply(t, all[to:])
				w.settle(t)
			}
			if diff := cmp.Diff(want, w.text(t, shown)); diff != "" {
				t.Error(diff)
			}
			w.expect(t, "select count(*) from runs where state <> 'succeeded'", "0")
			w.expect(t, "select count(*) from pending_reverts", "0")
		})
	}
}

// TestOpenWindowsAreComputedAfterAHandOver, at once, without waiting until they are due.
func TestOpenWindowsAreComputedAfterAHandOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := chain(0, 0, 130, events.ID{})
	w.apply(t, all[:60])
	w.settle(t)
	w.archiveAll(t, all[60:])
	if _, err := w.store.HandOver(t.Context(), "counter", stream, all[59].ID); err != nil {
		t.Fatal(err)
	}
	w.expect(t, days, "2024-01-31 1128 true, 2024-02-01 642 false") // shown as it was
	w.settle(t)
	w.expect(t, days, "2024-01-31 1128 true, 2024-02-01 3432 true, 2024-02-02 3825 false")
	w.expect(t, "select string_agg(distinct bucket_size, ' ') from runs where reason = 'passed'", "daily hourly")
	if until, err := w.store.HandOver(t.Context(), "counter", stream, all[129].ID); err != nil || !until.IsZero() {
		t.Errorf("one that is not behind is handed over to %s, %v", until, err)
	}
}

// TestWhatWasTakenBackIsNotFinal from when its runs are requested, before they are carried out.
func TestWhatWasTakenBackIsNotFinal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := forked(t)
	w.apply(t, all[:100])
	w.settle(t)
	w.archiveAll(t, all[100:101])
	if _, err := w.store.HandOver(t.Context(), "counter", stream, all[99].ID); err != nil {
		t.Fatal(err)
	}
	if err := w.store.RequestPassed(t.Context(), "counter"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "select max(bucket_end) from metric_buckets where final", "2024-02-01 01:00:00+00")
	w.expect(t, `select string_agg(bucket_size, ' ') from runs join metric_registry m using (metric_id)
		where reason = 'passed' and m.name = 'gas' and bucket_start < '2024-02-01 01:00Z'`, "daily")
}

// TestARebuildDuringAHandOver comes to nothing, since it would lack what was passed over.
func TestARebuildDuringAHandOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := chain(0, 0, 130, events.ID{})
	w.apply(t, all[:90])
	m, err := w.store.Metric(t.Context(), "gas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.AddDate(0, 0, 2)); err != nil {
		t.Fatal(err)
	}
	first := true
	w.work(t, func() error {
		if !first {
			return nil
		}
		first = false
		late := block(0, 10, all[89].ID) // into a window that is computed
		late.ID = events.ID{Minor: 91}
		w.archiveAll(t, []events.Delivery{late})
		_, err := w.store.HandOver(t.Context(), "counter", stream, all[89].ID)
		return err
	})
	w.expect(t, "select string_agg(distinct state, ' ') from runs", "queued")
	w.settle(t)
	w.expect(t, days, "2024-01-31 1138 true, 2024-02-01 2877 false")
}

// TestEventsOfOneWindowDaysApart are passed over: a run of it is requested, once.
func TestEventsOfOneWindowDaysApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "weekly.yaml", []byte(`
name: weekly_gas
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [weekly]
`))
	all := chain(0, 0, 20, events.ID{})
	all = append(all, chain(0, 150, 170, all[19].ID)...) // three days later
	w.apply(t, all[:10])
	w.archiveAll(t, all[10:])
	if _, err := w.store.HandOver(t.Context(), "counter", stream, all[9].ID); err != nil {
		t.Fatal(err)
	}
	if err := w.store.RequestPassed(t.Context(), "counter"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "select string_agg(reason || ' ' || bucket_start::date, ', ') from runs where bucket_size = 'weekly'",
		"passed 2024-01-29")
}

// TestWindowsBeforeTheStartArePassedOver, and computed all the same, since the stream would have counted there: those before a start
// date, and those that were over before a metric which does not catch up.
func TestWindowsBeforeTheStartArePassedOver(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]string{"start date": "start_date: 2024-02-02\n", "no catch-up": "catchup: false\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := chain(0, 0, 150, events.ID{})
			values := func(away bool) string {
				w := newWorld(t)
				pipeline.Apply(t, w.store, "later.yaml", []byte(later+lines))
				w.apply(t, all[:20])
				if away {
					w.archiveAll(t, all[20:])
					if _, err := w.store.HandOver(t.Context(), "counter", stream, all[19].ID); err != nil {
						t.Fatal(err)
					}
				} else {
					w.apply(t, all[20:])
				}
				w.settleAll(t)
				return w.text(t, `select string_agg(concat_ws(' ', bucket_size, bucket_start, value), e'\n' order by bucket_size, bucket_start)
					from metric_buckets where metric = 'later'`)
			}
			if diff := cmp.Diff(values(false), values(true)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhatRunsCannotCount is told by each of them, also where no stream has brought it. What one has brought is counted once as a
// metric error, however often runs meet it.
func TestWhatRunsCannotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "fragile.yaml", []byte(`
name: fragile
type: counter
calculation_logic: {stream: {event_type: block, value: 1 / ((event.gas_used - 20) * (event.gas_used - 70))}}
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: full
type: counter
calculation_logic: {stream: {event_type: block, dimensions: {height: event.gas_used}}}
max_dimensions: 30
chains: [testchain]
bucket_sizes: [daily]
`))
	all := chain(0, 0, 150, events.ID{})
	w.apply(t, all[:60])
	w.archiveAll(t, all[60:])
	if _, err := w.store.HandOver(t.Context(), "counter", stream, all[59].ID); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	const refused = `select string_agg(concat_ws(' ', name, bucket_size, to_char(bucket_start at time zone 'UTC', 'MM-DD HH24'), refused), ', '
			order by name, bucket_start)
		from runs join metric_registry using (metric_id) where refused > 0`
	w.expect(t, refused, "fragile daily 01-31 00 1, fragile hourly 01-31 10 1, fragile daily 02-01 00 1, fragile hourly 02-01 11 1, "+
		"full daily 01-31 00 18, full daily 02-01 00 18, full daily 02-02 00 18")
	w.expect(t, "select string_agg(name || ' ' || count, ', ' order by name) from metric_errors join metric_registry using (metric_id)", "fragile 1, full 18")
	m, err := w.store.Metric(t.Context(), "fragile")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	w.expect(t, "select coalesce(refused, observations)::text from runs order by run_id desc limit 1", "") // hours have told
}

// TestALongRangeIsResolvedInParts of 200,000 entries: cut short, it goes on where it was.
func TestALongRangeIsResolvedInParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.settle(t)
	w.execute(t, `insert into archived_entries (stream, entry_major, entry_minor, entry_time, content_hash, events)
		select '`+stream+`', 0, n, case when n <= 200100 then timestamptz '2024-02-03Z' + n * interval '1 s' else '2024-02-08 09:00Z' end, '', 1
		from generate_series(101, 200105) n`)
	w.execute(t, "update stream_watermarks set entry_id = '0-200105'")
	w.execute(t, "insert into pending_ranges (function, stream, after_id, until_id) values ('counter', '"+stream+"', '0-100', '0-200105')")
	const passed = `select string_agg(concat_ws(' ', bucket_size, n, first, last), ', ' order by bucket_size) from (
		select bucket_size, count(*) n, min(bucket_start) "first", max(bucket_start) "last" from runs join metric_registry using (metric_id)
		where name = 'gas' and reason = 'passed' and state = 'queued' group by 1) s`
	w.execute(t, "alter table runs add constraint broken check (bucket_start < '2024-02-08Z' or bucket_size <> 'hourly')")
	if err := w.store.RequestPassed(t.Context(), "counter"); err == nil {
		t.Error("no error")
	}
	w.expect(t, passed, "daily 3 2024-02-03 00:00:00+00 2024-02-05 00:00:00+00, hourly 56 2024-02-03 00:00:00+00 2024-02-05 07:00:00+00")
	w.execute(t, "alter table runs drop constraint broken")
	w.execute(t, "update runs set state = 'succeeded'")
	w.expect(t, "select after_id from pending_ranges", "0-200100")
	if err := w.store.RequestPassed(t.Context(), "counter"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, passed, "daily 1 2024-02-08 00:00:00+00 2024-02-08 00:00:00+00, hourly 1 2024-02-08 09:00:00+00 2024-02-08 09:00:00+00")
	w.expect(t, "select count(*) from pending_ranges", "0")
}
