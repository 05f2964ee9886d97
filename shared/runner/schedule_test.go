package runner_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const later = `
name: later
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [hourly, daily, monthly]
`

const (
	laterDays = `select string_agg(bucket_start::date || ' ' || value || ' ' || final, ', ' order by bucket_start)
		from metric_buckets where bucket_size = 'daily' and metric = 'later'`
	laterRuns = `select string_agg(reason || ' ' || bucket_size || ' ' || n, ', ' order by reason, bucket_size) from (
		select reason, bucket_size, count(*) n from runs join metric_registry using (metric_id) where name = 'later' group by 1, 2) s`
)

// TestANewMetricGetsItsHistory by ticks alone: once the archive has come to where the metric begins, each window is computed, once.
// So it is with another calculation, until then the old buckets are shown, and with another bucket size.
func TestANewMetricGetsItsHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.execute(t, "update stream_watermarks set entry_id = '0-99' where function = 'archive'")
	pipeline.Apply(t, w.store, "later.yaml", []byte(later))
	w.tick(t)
	w.expect(t, laterRuns, "")
	w.execute(t, "update stream_watermarks set entry_id = '0-100' where function = 'archive'")
	w.apply(t, chain(0, 100, 150, events.ID{Minor: 100}))
	w.tick(t)
	w.tick(t)
	w.expect(t, laterDays, "2024-01-31 1128 true, 2024-02-01 3432 true, 2024-02-02 5736 true, 2024-02-03 879 false")
	w.expect(t, "select count(*) from pending_ranges", "0")
	w.expect(t, laterRuns, "history daily 4, history hourly 75, history monthly 2")

	pipeline.Apply(t, w.store, "later.yaml", []byte(strings.Replace(later, "event.gas_used", "2 * event.gas_used", 1)))
	w.expect(t, laterDays, "2024-01-31 1128 false, 2024-02-01 3432 false, 2024-02-02 5736 false, 2024-02-03 879 false")
	w.tick(t)
	w.expect(t, laterDays, "2024-01-31 2256 true, 2024-02-01 6864 true, 2024-02-02 11472 true, 2024-02-03 1758 false")
	w.expect(t, laterRuns, "history daily 8, history hourly 150, history monthly 2") // months are queued already, and nobody ticks

	weeks := strings.Replace(later, "event.gas_used", "2 * event.gas_used", 1)
	pipeline.Apply(t, w.store, "later.yaml", []byte(strings.Replace(weeks, "hourly, ", "weekly, ", 1)))
	w.tick(t)
	w.expect(t, laterRuns, "history daily 8, history hourly 150, history monthly 2, history weekly 1")
	w.expect(t, "select count(*) from metric_buckets where metric = 'later' and bucket_size = 'hourly'", "0")
}

// TestHistoryBegins at the start date, or with the metric where it does not catch up.
func TestHistoryBegins(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ lines, want string }{
		"start date":  {"start_date: 2024-02-01\n", "history daily 3, history hourly 51, history monthly 1"},
		"no catch-up": {"catchup: false\n", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, before := range []bool{false, true} {
				w := newWorld(t)
				if before { // the stream
					pipeline.Apply(t, w.store, "later.yaml", []byte(later+test.lines))
				}
				w.apply(t, chain(0, 0, 150, events.ID{}))
				pipeline.Apply(t, w.store, "later.yaml", []byte(later+test.lines))
				w.tick(t)
				if !before {
					w.expect(t, laterRuns, test.want)
				} else if strings.Contains(w.text(t, "select string_agg(bucket_start::text, ' ') from runs join metric_registry using (metric_id) where name = 'later'"), "2024-01") {
					t.Error("windows were computed that begin before the start")
				}
			}
		})
	}
}

// TestWindowsAreDueByTheClock at the moment that the schedule says, not before.
func TestWindowsAreDueByTheClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(later+"schedule: 30 6 * * *\ngrace: 2h\n"))
	w.apply(t, chain(0, 0, 150, events.ID{}))
	for _, step := range []struct{ now, want string }{
		{"2024-02-01T06:29:59Z", ""},
		{"2024-02-01T06:30:00Z", "due daily 1"},
		{"2024-02-03T06:29:59Z", "due daily 2"},
		{"2024-02-03T06:30:00Z", "due daily 3"},
	} {
		now, err := time.Parse(time.RFC3339, step.now)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.function.Tick(t.Context(), events.Tick{Function: "counter", BucketSize: "daily"}, now); err != nil {
			t.Fatal(err)
		}
		w.expect(t, laterRuns, step.want)
	}
}

// TestWhatDependsOnThePastWaits for the windows before: those that are under way, those that are tried again later, and those that
// have failed, until somebody has seen to these.
func TestWhatDependsOnThePastWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(later+"depends_on_past: true\nmax_active_runs: 3\nretries: 1\n"))
	w.apply(t, chain(0, 0, 250, events.ID{}))
	m, err := w.store.Metric(t.Context(), "later")
	if err != nil {
		t.Fatal(err)
	}
	request := func(from, to int) {
		t.Helper()
		_, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis.AddDate(0, 0, from), genesis.AddDate(0, 0, to))
		if err != nil {
			t.Fatal(err)
		}
	}
	claim := func(most int) runner.Claim {
		t.Helper()
		claim, err := w.store.ClaimRuns(t.Context(), "counter", runner.Queue{Size: bucket.Daily}, runner.Bounds{Lease: time.Minute, Runs: most, Time: 240 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return claim
	}
	end := func(c runner.Claim, end runner.End) {
		t.Helper()
		if err := w.store.EndRuns(t.Context(), c, end); err != nil {
			t.Fatal(err)
		}
	}
	request(0, 4)
	first := claim(2)
	if got := first.Span.To.Sub(first.Span.From); got != 48*time.Hour {
		t.Errorf("%s, want two days", got)
	}
	if c := claim(2); c.Span.Lease != 0 {
		t.Errorf("%v is claimed while %v is under way", c.Span, first.Span)
	}
	end(first, runner.End{State: runner.Queued, After: time.Hour, Error: "broken"})
	if c := claim(2); c.Span.Lease != 0 {
		t.Errorf("%v is claimed before those that have failed", c.Span)
	}
	w.execute(t, "update runs set not_before = now()")
	second := claim(2) // alone, since it has failed
	end(second, runner.End{State: runner.Failed, Error: "broken"})
	if c := claim(2); c.Span.Lease != 0 {
		t.Errorf("%v is claimed after one that has failed", c.Span)
	}
	request(0, 1)
	third := claim(4)
	if !third.Span.From.Equal(second.Span.From) {
		t.Errorf("%v is claimed, want what was requested again", third.Span)
	}
}

// TestNoMoreRunsAreActive than the definition allows, by size.
func TestNoMoreRunsAreActive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 250, events.ID{}))
	m, err := w.store.Metric(t.Context(), "gas") // which allows 2
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.AddDate(0, 0, 4)); err != nil {
		t.Fatal(err)
	}
	bounds := runner.Bounds{Lease: time.Minute, Runs: 1, Time: 24 * time.Hour}
	claims := make(chan runner.Claim)
	for range 6 {
		go func() {
			claim, err := w.store.ClaimRuns(t.Context(), "counter", runner.Queue{Size: bucket.Daily}, bounds)
			if err != nil {
				t.Error(err)
			}
			claims <- claim
		}()
	}
	active := 0
	for range 6 {
		if claim := <-claims; claim.Span.Lease != 0 {
			active++
		}
	}
	if active != 2 {
		t.Errorf("%d runs are active, want 2", active)
	}
}

// TestDaysAreMadeOfHours where those are final, and of events where one hour is to be computed again; both give the same.
func TestDaysAreMadeOfHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(strings.Replace(later, "event.gas_used", "event.gas_used, dimensions: {h: event.hash}", 1)))
	w.apply(t, chain(0, 0, 150, events.ID{}))
	w.tick(t)
	const how = `select string_agg(bucket_start::date || ' ' || coalesce(observations::text, 'hours'), ', ' order by run_id)
		from runs join metric_registry using (metric_id) where name = 'later' and bucket_size = 'daily'`
	const buckets = `select md5(string_agg(concat(bucket_start, dimensions, value, encode(state, 'hex')), ',' order by bucket_start, dimensions))
		from metrics_data join metric_registry using (metric_id) where name = 'later' and bucket_size = 'daily'`
	w.expect(t, how, "2024-01-31 hours, 2024-02-01 hours, 2024-02-02 hours")
	before := w.text(t, buckets)
	m, err := w.store.Metric(t.Context(), "later")
	if err != nil {
		t.Fatal(err)
	}
	w.execute(t, "update windows set final = false where bucket_size = 'hourly' and bucket_start = '2024-02-01 05:00Z'")
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	w.work(t, func() error { return nil })
	w.expect(t, how, "2024-01-31 hours, 2024-02-01 hours, 2024-02-02 hours, 2024-01-31 48, 2024-02-01 48, 2024-02-02 48")
	w.expect(t, buckets, before)
	w.expect(t, "select sum(changes) from runs", "0")
}

// TestDaysAreNotMadeOfHoursOfAnotherCalculation, also where the hours were begun under the new one, and given up.
func TestDaysAreNotMadeOfHoursOfAnotherCalculation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(later))
	w.apply(t, chain(0, 0, 150, events.ID{}))
	w.tick(t)
	const finals = "select count(*) from metric_buckets where metric = 'later' and final"
	if w.text(t, finals) == "0" {
		t.Error("nothing is final")
	}
	pipeline.Apply(t, w.store, "later.yaml", []byte(strings.Replace(later, "event.gas_used", "2 * event.gas_used", 1)))
	w.expect(t, finals, "0")
	if err := w.store.RequestHistory(t.Context(), "counter", genesis.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	work := func(size bucket.Size, disturb func() error) {
		t.Helper()
		queues := []runner.Queue{{Size: size, Metric: "later"}}
		if _, err := runner.Work(t.Context(), counter.Type{}, &disturbed{w.store, disturb}, queues, time.Minute, ""); err != nil {
			t.Fatal(err)
		}
	}
	work(bucket.Hourly, func() error { return errors.New("broken") })
	w.expect(t, finals, "0")
	work(bucket.Daily, func() error { return nil })
	w.expect(t, laterDays, "2024-01-31 2256 true, 2024-02-01 6864 true, 2024-02-02 11472 true, 2024-02-03 1758 false")
}

// TestWhatIsPutRightReachesLargerWindows that were made of it.
func TestWhatIsPutRightReachesLargerWindows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "later.yaml", []byte(later))
	w.apply(t, chain(0, 0, 150, events.ID{}))
	tick := func(size bucket.Size) {
		t.Helper()
		if err := w.function.Tick(t.Context(), events.Tick{Function: "counter", BucketSize: size.String()}, genesis.AddDate(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	tick(bucket.Hourly)
	w.execute(t, `update metrics_data d set state = o.state, value = o.value from metrics_data o, metric_registry m
		where d.metric_id = m.metric_id and o.metric_id = m.metric_id and m.name = 'later' and d.bucket_size = 'hourly'
			and o.bucket_size = 'hourly' and d.bucket_start = '2024-02-01 05:00Z' and o.bucket_start = '2024-02-01 06:00Z'`)
	tick(bucket.Daily)
	w.expect(t, laterDays, "2024-01-31 1128 true, 2024-02-01 3436 true, 2024-02-02 5736 true, 2024-02-03 879 false") // of the wrong hour
	m, err := w.store.Metric(t.Context(), "later")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Hourly, genesis, genesis.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	tick(bucket.Hourly)
	tick(bucket.Daily)
	w.expect(t, laterDays, "2024-01-31 1128 true, 2024-02-01 3432 true, 2024-02-02 5736 true, 2024-02-03 879 false")
	w.expect(t, "select string_agg(bucket_size || ' ' || reason, ', ' order by run_id) from runs where changes > 0",
		"daily due, hourly backfill, daily corrected")
	w.expect(t, `select string_agg(type || ' ' || (details ->> 'reason'), ', ' order by outbox_id)
		from outbox where bucket_size = 'daily' and bucket_start = '2024-02-01Z' and type like '%revised%'`,
		"dev.chainmetrics.bucket.revised.v1 corrected")
}
