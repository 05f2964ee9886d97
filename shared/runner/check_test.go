package runner_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// blocks counts blocks, 48 a day, and has checks; another metric is derived from it.
const blocks = `
name: blocks
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [daily]
checks: CHECKS
---
name: twice
type: counter
calculation_logic: {derived: {expression: 2 * blocks, dependencies: [blocks]}}
chains: [testchain]
bucket_sizes: [daily]
`

// check gives blocks other checks.
func (w *world) check(t *testing.T, checks string) {
	t.Helper()
	pipeline.Apply(t, w.store, "blocks.yaml", []byte(strings.Replace(blocks, "CHECKS", checks, 1)))
}

// lack applies all blocks of two days and two hours but one.
func (w *world) lack(t *testing.T, height uint64) {
	t.Helper()
	w.apply(t, chain(0, 0, height, events.ID{}))
	w.apply(t, chain(0, height+1, 100, events.ID{Minor: height}))
}

// late applies a block after all others.
func (w *world) late(t *testing.T, height uint64) {
	t.Helper()
	b := block(0, height, events.ID{Minor: 100})
	b.ID = events.ID{Minor: 101}
	w.apply(t, []events.Delivery{b})
}

// settled ticks as often as it takes until what depends on others is computed too.
func (w *world) settled(t *testing.T) {
	t.Helper()
	for range 4 {
		w.tick(t)
	}
}

const (
	shownDays = `select string_agg(metric || ' ' || to_char(bucket_start, 'MM-DD') || ' ' || value || case when final then ' final' else '' end,
		', ' order by metric, bucket_start) from metric_buckets where metric in ('blocks', 'twice') and bucket_start < '2024-02-02'`
	failing = `select string_agg(to_char(bucket_start, 'MM-DD') || ' ' || severity || ' ' || check_name || ': ' || message, ', ' order by bucket_start, check_name)
		from check_failures`
	toldChecks = `select string_agg(to_char(bucket_start, 'MM-DD') || ' ' || (details ->> 'severity') || ' ' || (details ->> 'check') || ': ' || (details ->> 'message'),
		', ' order by outbox_id) from outbox where type = 'dev.chainmetrics.check.failed.v1' and metric = 'blocks'`
	revisedBlocks = `select string_agg(metric || ' ' || to_char(bucket_start, 'MM-DD') || ' ' || (details ->> 'reason'), ', ' order by metric, bucket_start)
		from outbox where type ~ 'revised' and metric in ('blocks', 'twice')`
)

// TestWarningsAreToldOnce, and forgotten when they hold no longer.
func TestWarningsAreToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.check(t, "[{min: 48}, {max_change: 0.01}, {not_null: true}]")
	w.lack(t, 20)
	w.settled(t)
	const (
		all    = "blocks 01-31 47 final, blocks 02-01 48 final, twice 01-31 94 final, twice 02-01 96 final"
		lacks  = "01-31 warn min 48: 47 is less than 48"
		change = "02-01 warn max_change 0.01: 48 after 47 is a change by more than 0.01 of it"
	)
	w.expect(t, shownDays, all)
	w.expect(t, failing, lacks+", "+change)
	w.expect(t, toldChecks, lacks+", "+change)
	w.expect(t, `select count(*) from outbox o join runs r using (run_id) join check_failures c using (run_id)
		where o.type ~ 'check' and r.bucket_start = o.bucket_start and c.bucket_start = o.bucket_start`, "2")

	w.request(t, "blocks", 2)
	w.settled(t)
	w.expect(t, toldChecks, lacks+", "+change)
	w.expect(t, shownDays, all)

	w.late(t, 20) // the day after is checked once more, though nothing has come to it
	w.settled(t)
	w.expect(t, failing, "")
	w.expect(t, toldChecks, lacks+", "+change)
	w.expect(t, shownDays, "blocks 01-31 48 final, blocks 02-01 48 final, twice 01-31 96 final, twice 02-01 96 final")
	w.expect(t, runStates, "succeeded "+w.text(t, "select count(*) from runs"))
}

// TestWindowsThatAreBlocked stay provisional, and so does what is derived from them, until they pass.
func TestWindowsThatAreBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.check(t, "[{expression: value == 48, severity: block}, {min: 40}]")
	w.lack(t, 20)
	w.settled(t)
	const lacks = "01-31 block value == 48: 47 does not hold"
	w.expect(t, shownDays, "blocks 01-31 47, blocks 02-01 48 final, twice 02-01 96 final")
	w.expect(t, failing, lacks)
	w.expect(t, toldChecks, lacks)
	w.request(t, "blocks", 2)
	w.settled(t)
	w.expect(t, toldChecks, lacks)
	w.expect(t, shownDays, "blocks 01-31 47, blocks 02-01 48 final, twice 02-01 96 final")

	w.late(t, 20)
	w.settled(t)
	w.expect(t, shownDays, "blocks 01-31 48 final, blocks 02-01 48 final, twice 01-31 96 final, twice 02-01 96 final")
	w.expect(t, failing, "")
	w.expect(t, `select string_agg(reason, ', ' order by run_id) from runs where metric_id = (select metric_id from metric_registry where name = 'blocks')
		and bucket_start = '2024-01-31Z'`, "due, backfill, late")
	w.expect(t, revisedBlocks, "") // it had not been final

	w = newWorld(t) // a window that was final, and no longer passes
	w.check(t, "[{max: 48, severity: block}]")
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.settled(t)
	w.expect(t, shownDays, "blocks 01-31 48 final, blocks 02-01 48 final, twice 01-31 96 final, twice 02-01 96 final")
	w.late(t, 20)
	w.settled(t)
	w.expect(t, shownDays, "blocks 01-31 49, blocks 02-01 48 final, twice 01-31 96, twice 02-01 96 final")
	w.expect(t, failing, "01-31 block max 48: 49 is greater than 48")
	w.expect(t, revisedBlocks, "blocks 01-31 late, twice 01-31 dependency")
}

// TestChecksThatChange are applied to the windows that fail one; windows that are final are looked at when they are computed again.
func TestChecksThatChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.check(t, "[{min: 48, severity: block}]")
	w.lack(t, 20)
	w.settled(t)
	const final = "blocks 01-31 47 final, blocks 02-01 48 final, twice 01-31 94 final, twice 02-01 96 final"
	requested := func(want string) {
		t.Helper()
		w.expect(t, "select string_agg(reason || ' ' || bucket_start::date, ', ') from runs where state = 'queued'", want)
	}
	w.check(t, "[{min: 48}]")
	requested("backfill 2024-01-31")
	w.settled(t)
	w.expect(t, shownDays, final)
	w.expect(t, toldChecks, "01-31 block min 48: 47 is less than 48, 01-31 warn min 48: 47 is less than 48")

	w.forget(t)
	w.check(t, "[{min: 48, severity: block}]")
	w.settled(t)
	w.expect(t, shownDays, "blocks 01-31 47, blocks 02-01 48 final, twice 01-31 94, twice 02-01 96 final")
	w.expect(t, revisedBlocks, "blocks 01-31 check, twice 01-31 dependency")
	w.expect(t, "select finalized_at is not null from windows join metric_registry using (metric_id) where name = 'blocks' and bucket_start = '2024-01-31Z'", "true")

	w.check(t, "[]")
	requested("backfill 2024-01-31")
	w.settled(t)
	w.expect(t, shownDays, final)
	w.expect(t, failing, "")

	w.check(t, "[{max: 47, severity: block}]")
	requested("")
	w.request(t, "blocks", 2)
	w.settled(t)
	w.expect(t, shownDays, "blocks 01-31 47 final, blocks 02-01 48, twice 01-31 94 final, twice 02-01 96")
}

// TestChecksOfDimensions compare buckets of the same dimensions.
func TestChecksOfDimensions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const definition = `
name: blocks
type: counter
calculation_logic: {stream: {event_type: block, value: "event.number < 48 ? 5 : event.number % 3", dimensions: {third: string(event.number % 3)}}}
chains: [testchain]
bucket_sizes: [daily]
checks: [{monotonic: increasing}, {not_null: true}, {expression: value > 0 || previous > 100}]
`
	pipeline.Apply(t, w.store, "blocks.yaml", []byte(definition))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.expect(t, failing, `02-01 warn monotonic increasing: 0 after 80 is a decrease, {"third":"0"}, and 2 more buckets, `+
		`02-01 warn value > 0 || previous > 100: 0 after 80 does not hold, {"third":"0"}`)
}

// TestChecksOfEmptyWindows, and of windows that are made of smaller ones.
func TestChecksOfEmptyWindows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const definition = `
name: blocks
type: counter
calculation_logic: {stream: {event_type: block, where: event.number % 4 < 2}}
chains: [testchain]
bucket_sizes: [hourly, daily]
checks: [{not_null: true, severity: block}, {max: 23, severity: block}]
`
	pipeline.Apply(t, w.store, "blocks.yaml", []byte(definition))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.expect(t, `select string_agg(distinct bucket_size || ' ' || check_name || ': ' || message, ', ') from check_failures`,
		"daily max 23: 24 is greater than 23, hourly not_null: there is no bucket")
	w.expect(t, `select string_agg(bucket_size || ' ' || final || ' ' || n, ', ' order by bucket_size, final) from (
		select bucket_size, final, count(*) n from windows join metric_registry using (metric_id) where name = 'blocks' group by 1, 2) s`,
		"daily false 2, hourly false 24, hourly true 25")
	w.expect(t, "select count(*) from check_failures", "26")
}

// TestFailuresGoWithTheirMetric, and with a bucket size of it.
func TestFailuresGoWithTheirMetric(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const definition = `
name: blocks
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [hourly, daily]
checks: [{min: 100}]
`
	pipeline.Apply(t, w.store, "blocks.yaml", []byte(definition))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	const sizes = "select string_agg(distinct bucket_size, ' ') from check_failures"
	w.expect(t, sizes, "daily hourly")
	pipeline.Apply(t, w.store, "blocks.yaml", []byte(strings.Replace(definition, "hourly, ", "", 1)))
	w.expect(t, sizes, "daily")
	pipeline.Apply(t, w.store, "blocks.yaml", []byte(strings.NewReplacer("hourly, ", "", "min: 100", "max: 0").Replace(definition)))
	w.expect(t, "select string_agg(distinct bucket_size, ' ') from runs where state = 'queued'", bucket.Daily.String())
	if _, err := w.store.DeleteMetric(t.Context(), "blocks"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "select count(*) from check_failures", "0")
}

// TestNoWindowIsFinalThatIsBlocked, whatever happens to it, and all others are in the end.
func TestNoWindowIsFinalThatIsBlocked(t *testing.T) {
	t.Parallel()
	const definition = `
name: odd
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [hourly, daily]
checks: [{expression: value % 3 != 0, severity: block}, {monotonic: increasing}]
`
	for seed := range uint64(2) {
		h := &history{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 5)), published: map[string]bool{}}
		pipeline.Apply(t, h.store, "odd.yaml", []byte(definition))
		var happened []string
		for range 20 {
			happened = append(happened, h.step(t))
			h.expect(t, "select count(*) from metric_buckets where metric = 'odd' and final and value % 3 = 0", "0")
		}
		h.extend(t, uint64(len(h.branch)), uint64(len(h.branch))+60)
		h.settle(t)
		h.expect(t, `select string_agg(w.bucket_size || ' ' || w.bucket_start, ', ')
			from windows w
			join metric_registry m using (metric_id)
			join schedules s using (metric_id, bucket_size, chain)
			left join metrics_data d using (metric_id, bucket_size, chain, bucket_start)
			where m.name = 'odd' and w.bucket_start < s.requested_until
				and (w.final <> coalesce(d.value % 3 <> 0, true) or w.final = is_blocked(w.metric_id, w.bucket_size, w.chain, w.bucket_start))`, "")
		if blocked := h.text(t, "select count(*) from check_failures where severity = 'block'"); len(blocked) < 2 || t.Failed() {
			t.Errorf("%s windows are blocked after %q", blocked, happened)
		}
	}
}

// TestBlockedWindowsOfCorrectedOnes are computed again, as final ones are.
func TestBlockedWindowsOfCorrectedOnes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const definition = `
name: blocks
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [hourly, daily]
checks: [{max: 47, severity: block}]
`
	pipeline.Apply(t, w.store, "blocks.yaml", []byte(definition))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t)
	w.execute(t, `update metrics_data set state = (select state from metrics_data where bucket_size = 'hourly' limit 1)
		where bucket_size = 'hourly' and bucket_start = '2024-01-31 03:00Z' and metric_id = (select metric_id from metric_registry where name = 'blocks')`)
	m, err := w.store.Metric(t.Context(), "blocks")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Hourly, genesis, genesis.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.expect(t, "select string_agg(bucket_size || ' ' || bucket_start::date || ' ' || state, ', ') from runs where reason = 'corrected'",
		"daily 2024-01-31 succeeded")
}
