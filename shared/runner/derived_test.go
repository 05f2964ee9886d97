package runner_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// bases are what metrics are derived from: of events, by a query, with dimensions.
const bases = queried + `
---
name: size
type: counter
calculation_logic: {stream: {event_type: block, value: event.number % 5}}
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: split
type: counter
calculation_logic: {stream: {event_type: block, value: event.number, dimensions: {odd: string(event.number % 2)}}}
chains: [testchain]
bucket_sizes: [hourly, daily]
`

// operation is an expression over up to two metrics, and what it gives.
type operation struct {
	text string // with %[1]s and %[2]s
	of   func(a, b decimal.Decimal) (decimal.Decimal, error)
}

var operations = []operation{
	{"%[1]s + %[2]s", decimal.Decimal.Add},
	{"%[1]s / %[2]s", decimal.Decimal.Quo},
	{"%[1]s - 2 * %[2]s", func(a, b decimal.Decimal) (decimal.Decimal, error) {
		double, err := b.Add(b)
		if err != nil {
			return b, err
		}
		return a.Sub(double)
	}},
	{"%[1]s * %[1]s - %[2]s", func(a, b decimal.Decimal) (decimal.Decimal, error) {
		square, err := a.Mul(a)
		if err != nil {
			return b, err
		}
		return square.Sub(b)
	}},
}

// node is a derived metric of a random graph.
type node struct {
	name         string
	operation    operation
	dependencies []string // one or two
	dimensions   bool
}

func (n node) second() string { return n.dependencies[len(n.dependencies)-1] }

func (n node) definition() string {
	dimensions := ""
	if n.dimensions {
		dimensions = "odd"
	}
	return fmt.Sprintf("---\nname: %s\ntype: counter\ncalculation_logic:\n  derived: {expression: %s, dependencies: [%s], dimensions: [%s]}\n"+
		"chains: [testchain]\nbucket_sizes: [hourly, daily]\n",
		n.name, fmt.Sprintf(n.operation.text, n.dependencies[0], n.second()), strings.Join(n.dependencies, ", "), dimensions)
}

// graph is metrics over each other, each after those that it depends on.
type graph []node

func randomGraph(random *rand.Rand, nodes int) (g graph) {
	names, split := []string{"gas", "size", "queried_gas", "split"}, map[string]bool{"split": true}
	for i := range nodes {
		n := node{name: fmt.Sprintf("node_%d", i), operation: operations[random.IntN(len(operations))]}
		n.dependencies = []string{names[random.IntN(len(names))]}
		if other := names[random.IntN(len(names))]; other != n.dependencies[0] {
			n.dependencies = append(n.dependencies, other)
		}
		n.dimensions = slices.ContainsFunc(n.dependencies, func(name string) bool { return split[name] })
		split[n.name] = n.dimensions
		names, g = append(names, n.name), append(g, n)
	}
	return g
}

func (g graph) apply(t *testing.T, w *world) {
	t.Helper()
	text := bases
	for _, n := range g {
		text += n.definition()
	}
	pipeline.Apply(t, w.store, "graph.yaml", []byte(text))
}

// window is one of a metric, as a test names it.
type window struct{ metric, size, start string }

// snapshot is what is shown at one moment.
type snapshot struct {
	final  map[window]bool
	values map[window]map[string]decimal.Decimal // by dimensions
}

func (w *world) snapshot(t *testing.T) snapshot {
	t.Helper()
	const query = `select m.name, w.bucket_size, w.bucket_start::text, w.final and w.base_version >= m.calculation_version, d.dimensions, d.value
		from windows w
		join metric_registry m using (metric_id)
		left join metrics_data d on d.metric_id = w.metric_id and d.bucket_size = w.bucket_size and d.bucket_start = w.bucket_start
			and d.generation >= m.oldest_generation`
	rows, err := w.database.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	s := snapshot{final: make(map[window]bool), values: make(map[window]map[string]decimal.Decimal)}
	for rows.Next() {
		var key window
		var final *bool
		var dimensions, value *string
		if err := rows.Scan(&key.metric, &key.size, &key.start, &final, &dimensions, &value); err != nil {
			t.Fatal(err)
		}
		if s.final[key] = final != nil && *final; dimensions == nil {
			continue
		}
		n, err := decimal.Parse(*value)
		if err != nil {
			t.Fatal(err)
		}
		if s.values[key] == nil {
			s.values[key] = make(map[string]decimal.Decimal)
		}
		s.values[key][*dimensions] = n
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return s
}

// evaluate gives what a window of a node shows over what its dependencies show.
func (s snapshot) evaluate(n node, size, start string) map[string]string {
	of := func(name, dimensions string) (decimal.Decimal, bool) {
		all := s.values[window{name, size, start}]
		if value, ok := all[dimensions]; ok {
			return value, true
		}
		value, ok := all["{}"]
		return value, ok
	}
	sets := []string{"{}"}
	if n.dimensions {
		sets = []string{metric.EncodeDimensions(map[string]string{"odd": "0"}), metric.EncodeDimensions(map[string]string{"odd": "1"})}
	}
	shown := make(map[string]string)
	for _, set := range sets {
		a, okA := of(n.dependencies[0], set)
		b, okB := of(n.second(), set)
		if !okA || !okB {
			continue
		}
		if value, err := n.operation.of(a, b); err == nil {
			shown[set] = value.Round(18).String()
		}
	}
	return shown
}

// check compares each window of the graph that is final with those that it depends on; where all has settled, also those that should
// be.
func (g graph) check(t *testing.T, s snapshot, settled bool, happened []string) (compared int) {
	t.Helper()
	for _, n := range g {
		for key := range s.final {
			if key.metric != n.dependencies[0] {
				continue
			}
			own := window{n.name, key.size, key.start}
			ready := true
			for _, dependency := range n.dependencies {
				ready = ready && s.final[window{dependency, key.size, key.start}]
			}
			if s.final[own] && !ready || settled && ready && !s.final[own] {
				t.Fatalf("%v is final: %t, what it depends on: %t; after %q\n%s", own, s.final[own], ready, happened, n.definition())
			}
			if !s.final[own] {
				continue
			}
			compared++
			got := make(map[string]string)
			for set, value := range s.values[own] {
				got[set] = value.String()
			}
			if diff := cmp.Diff(s.evaluate(n, key.size, key.start), got); diff != "" {
				t.Fatalf("%v after %q (-recomputed +stored):\n%s\n%s", own, happened, diff, n.definition())
			}
		}
	}
	return compared
}

// TestDerivedEqualRecomputation: whatever happens, in any order, to what a graph of metrics depends on, no window of it is ever final
// with values other than those of its expression over final windows, and all are in the end.
func TestDerivedEqualRecomputation(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		h := &history{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 3)), published: map[string]bool{}}
		g := randomGraph(h.random, 6)
		happened := []string{"apply the graph"}
		g.apply(t, h.world)
		for range 24 {
			switch h.random.IntN(8) {
			case 0: // another expression
				at := h.random.IntN(len(g))
				g[at].operation = operations[h.random.IntN(len(operations))]
				g.apply(t, h.world)
				happened = append(happened, "change "+g[at].name)
			case 1:
				h.tickSize(t, bucket.Hourly)
				happened = append(happened, "tick hourly")
			case 2:
				h.tickSize(t, bucket.Daily)
				happened = append(happened, "tick daily")
			case 3:
				name := g[h.random.IntN(len(g))].name
				h.request(t, name, 1)
				happened = append(happened, "backfill "+name)
			default:
				happened = append(happened, h.step(t))
			}
			g.check(t, h.snapshot(t), false, happened)
		}
		h.extend(t, uint64(len(h.branch)), uint64(len(h.branch))+60)
		h.settle(t)
		if compared := g.check(t, h.snapshot(t), true, append(happened, "extend", "settle")); compared < 100 {
			t.Errorf("seed %d: only %d final windows of derived metrics", seed, compared)
		}
		h.expect(t, "select count(*) from outbox where type like '%drifted%'", "0")
	}
}

// TestDerivedAtOnce: ticks of several processes, and what the stream brings, at the same time.
func TestDerivedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	random := rand.New(rand.NewPCG(11, 0))
	g := randomGraph(random, 8)
	g.apply(t, w)
	ctx, stop := context.WithCancel(t.Context())
	var ticking sync.WaitGroup
	for range 3 {
		for _, size := range []bucket.Size{bucket.Hourly, bucket.Daily} {
			ticking.Go(func() {
				for ctx.Err() == nil {
					tick := events.Tick{Function: "counter", BucketSize: size.String()}
					if err := w.function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	last := events.ID{}
	for height := range uint64(72) {
		some := []events.Delivery{block(0, height, last)}
		if height > 40 && height%4 == 0 { // late
			late := block(0, random.Uint64N(height), events.ID{})
			late.ID = events.ID{Minor: 10_000 + height}
			some = append(some, late)
		}
		for i := range some {
			some[i].ID, some[i].Predecessor = events.ID{Minor: last.Minor + 1}, last
			last = some[i].ID
		}
		w.apply(t, some)
		if height%5 == 0 {
			g.check(t, w.snapshot(t), false, nil)
		}
	}
	stop()
	ticking.Wait()
	for deadline := time.Now().Add(time.Minute); w.text(t, "select count(*) from runs where state in ('queued', 'running')") != "0" && time.Now().Before(deadline); {
		w.execute(t, "update runs set not_before = now() where state = 'queued'")
		w.tick(t)
	}
	w.tick(t)
	if compared := g.check(t, w.snapshot(t), true, nil); compared < 100 {
		t.Errorf("only %d final windows of derived metrics", compared)
	}
	w.expect(t, "select coalesce(string_agg(distinct error, ', '), '') from runs where state = 'failed'", "")
	w.expect(t, "select count(*) from outbox where type like '%drifted%'", "0")
}

// tickSize sends a tick of one size.
func (w *world) tickSize(t *testing.T, size bucket.Size) {
	t.Helper()
	tick := events.Tick{Function: "counter", BucketSize: size.String()}
	if err := w.function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
}

const doubled = `
name: doubled
type: counter
calculation_logic: {derived: {expression: 2 * gas, dependencies: [gas]}}
chains: [testchain]
bucket_sizes: [hourly, daily]
`

// crashing is a store whose process dies before a rebuild is finished.
type crashing struct{ aggregate.Archive }

func (crashing) FinishRebuild(
	context.Context, aggregate.Rebuild, func(aggregate.Current) ([]aggregate.Bucket, error), func() []aggregate.Tally, aggregate.Failures,
) error {
	return errCrash
}

var errCrash = errors.New("crash")

// TestCrashInTheMiddleOfARebuild of final windows: what depends on them is computed again, though the rebuild that follows finds nothing
// to change.
func TestCrashInTheMiddleOfARebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "doubled.yaml", []byte(doubled))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.settle(t)
	const both = `select string_agg(metric || ' ' || value || ' ' || final, ', ' order by metric desc)
		from metric_buckets where bucket_size = 'daily' and bucket_start = '2024-01-31Z' and metric in ('gas', 'doubled')`
	w.expect(t, both, "gas 1128 true, doubled 2256 true")
	w.execute(t, `update metrics_data set value = 7, state = (select state from metrics_data where bucket_size = 'hourly' limit 1)
		where bucket_size = 'daily' and bucket_start = '2024-01-31Z' and metric_id = (select metric_id from metric_registry where name = 'gas')`)
	span := aggregate.Span{Metric: w.gas(t).ID, Size: bucket.Daily, Chain: "testchain", From: genesis, To: genesis.AddDate(0, 0, 1)}
	w.execute(t, `update metrics_data set value = 14
		where bucket_size = 'daily' and bucket_start = '2024-01-31Z' and metric_id = (select metric_id from metric_registry where name = 'doubled')`)
	if _, err := aggregate.RebuildSpan(t.Context(), counter.Type{}, crashing{w.store}, span); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	w.expect(t, both, "gas 1128 true, doubled 14 false")
	w.settle(t)
	w.expect(t, both, "gas 1128 true, doubled 2256 true")
}

// TestDerivedWhileWindowsAreFinished: a metric is derived from one of which a window becomes final at the same time, before anybody
// else depends on any.
func TestDerivedWhileWindowsAreFinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.settle(t)
	tx, err := w.database.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const finish = `update windows set final = true where bucket_size = 'daily' and bucket_start = '2024-01-31Z'
		and metric_id = (select metric_id from metric_registry where name = 'gas')`
	const request = `select request_dependents(array[metric_id], array['daily'], array['2024-01-31Z'::timestamptz], array['testchain'])
		from metric_registry where name = 'gas'`
	w.execute(t, strings.Replace(finish, "final = true", "final = false", 1))
	for _, statement := range []string{finish, request} {
		if _, err := tx.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	wait := w.meanwhile(t, func() {
		pipeline.Apply(t, w.store, "doubled.yaml", []byte(strings.Replace(doubled, "type: counter", "type: gauge", 1)))
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait()
	if err := w.store.RequestHistory(t.Context(), "gauge", genesis.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	w.expect(t, `select string_agg(bucket_start::date::text, ', ' order by bucket_start) from runs join metric_registry using (metric_id)
		where name = 'doubled' and bucket_size = 'daily'`, "2024-01-31, 2024-02-01")
}

// TestChangedWhileADependentIsFinished: a metric is calculated otherwise while a window that depends on it becomes final.
func TestChangedWhileADependentIsFinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "doubled.yaml", []byte(strings.Replace(doubled, "type: counter", "type: gauge", 1)))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.tick(t) // nobody carries out the runs of a gauge
	const id = "(select metric_id from metric_registry where name = 'doubled')"
	w.execute(t, `insert into windows (metric_id, bucket_size, bucket_start, chain, base_version)
		values (`+id+`, 'daily', '2024-01-31Z', 'testchain', 1)
		on conflict (metric_id, bucket_size, bucket_start, chain) do update set base_version = 1`)
	tx, err := w.database.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{ // as in FinishRebuild
		"select from metric_registry where name = 'doubled' for share",
		"update windows set final = not lacks_dependency(metric_id, bucket_size, chain, bucket_start) where metric_id = " + id,
	} {
		if _, err := tx.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	wait := w.meanwhile(t, func() {
		pipeline.Apply(t, w.store, "test.yaml", []byte(strings.Replace(metrics, "value: event.gas_used}", "value: event.gas_used * 2}", 1)))
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait()
	w.expect(t, "select bool_or(final) from windows where metric_id = "+id, "false")
}

// TestAnswersOfRuns say up to where windows hold what was expected, and where some do not.
func TestAnswersOfRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "derived.yaml", []byte(queried+"---"+strings.Replace(doubled, "2 * gas, dependencies: [gas]", "gas + queried_gas, dependencies: [gas, queried_gas]", 1)))
	holds := func(name string) string {
		t.Helper()
		answer, err := w.store.Answer(t.Context(), postgres.Query{Metric: name, Size: bucket.Daily})
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, s := range answer.Standings {
			fmt.Fprintf(&text, "%s %s %s %t %s", s.Chain, s.Stream, s.Watermark, s.Incomplete, s.LowWater.Format(time.DateOnly))
		}
		return text.String()
	}
	for name, want := range map[string]string{
		"queried_gas": "testchain  0-0 false 0001-01-01", "doubled": "testchain  0-0 true 0001-01-01", // nobody has looked for its history
	} {
		if got := holds(name); got != want {
			t.Errorf("%s before anything has come: %q, want %q", name, got, want)
		}
	}
	w.apply(t, chain(0, 0, 100, events.ID{}))
	w.settle(t)
	for _, name := range []string{"queried_gas", "doubled"} {
		if got, want := holds(name), "testchain "+stream+" 0-100 false 2024-02-02"; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	w.execute(t, `update runs set state = 'failed' where bucket_size = 'daily' and bucket_start = '2024-01-31Z'
		and metric_id = (select metric_id from metric_registry where name = 'queried_gas')`)
	for _, name := range []string{"queried_gas", "doubled"} {
		if got, want := holds(name), "testchain "+stream+" 0-100 true 0001-01-01"; got != want {
			t.Errorf("%s with a run that has failed: %q, want %q", name, got, want)
		}
	}
}
