package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func definition(name, value string) metric.Definition {
	return metric.Definition{
		Name: name, Type: function, Aggregate: "sum", Chains: []string{"bitcoin"}, Complexity: "small",
		BucketSizes: []bucket.Size{bucket.Hourly, bucket.Daily},
		Calculation: metric.Calculation{Stream: &metric.Stream{EventType: "block", Value: value}},
	}
}

func apply(t *testing.T, store *postgres.Store, definitions ...metric.Definition) []postgres.AppliedMetric {
	t.Helper()
	applied, err := store.ApplyMetrics(t.Context(), definitions)
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

func registry(t *testing.T, store *postgres.Store) aggregate.Registry {
	t.Helper()
	r, err := store.Registry(t.Context(), function, stream)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bucketOf is a bucket of a registered metric.
func bucketOf(t *testing.T, store *postgres.Store, name string) aggregate.Bucket {
	t.Helper()
	m, err := store.Metric(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	k := key(bucket.Daily, "2009-01-03 00:00:00", `{}`)
	k.Metric = m.ID
	return aggregate.Bucket{Key: k, State: []byte{1}, Value: decimal.FromInt64(1)}
}

func TestRegistryGivesTheDefinitionsOfTheFunction(t *testing.T) {
	t.Parallel()
	store, _ := fresh(t)
	empty := registry(t, store)
	if empty.Version == 0 || len(empty.Metrics) != 0 {
		t.Errorf("empty: %+v", empty)
	}
	blocks, fees, other := definition("block_count", "1"), definition("fees", "event.fees"), definition("peak", "1")
	other.Type = "gauge"
	apply(t, store, fees, other, blocks)
	got := registry(t, store)
	if got.Version <= empty.Version {
		t.Errorf("version %d after %d", got.Version, empty.Version)
	}
	definitions := make(map[string]metric.Definition)
	for _, m := range got.Metrics {
		definitions[m.Definition.Name] = m.Definition
	}
	if diff := cmp.Diff(map[string]metric.Definition{"block_count": blocks, "fees": fees}, definitions); diff != "" {
		t.Error(diff)
	}
	if current := get(t, store); current.Version != got.Version {
		t.Errorf("under the lock: version %d, want %d", current.Version, got.Version)
	}
}

// TestDefinitionsOfNewerVersions puts a field into the registry that this version does not know. Nothing may be computed
// or compared without it; showing the rest is safe.
func TestDefinitionsOfNewerVersions(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	blocks := definition("block_count", "1")
	apply(t, store, blocks, definition("fees", "event.fees"))
	execute(t, connect(t, url), `update metric_registry set definition = jsonb_set(definition,
		'{calculation_logic,stream,unless}', '"event.orphan"') where name = 'fees'`)
	_, err := store.Registry(t.Context(), function, stream)
	if err == nil || !strings.Contains(err.Error(), "metric fees: ") || !strings.Contains(err.Error(), `"unless"`) {
		t.Errorf("read: got %v, want an error that names metric and field", err)
	}
	if _, err := store.ApplyMetrics(t.Context(), []metric.Definition{definition("fees", "event.fees")}); err == nil {
		t.Error("a definition was compared with one that this version does not understand")
	}
	apply(t, store, blocks)
	if m, err := store.Metric(t.Context(), "fees"); err != nil || m.Definition.Name != "fees" {
		t.Errorf("show: got %+v, %v", m, err)
	}
}

func TestApplyMetrics(t *testing.T) {
	t.Parallel()
	store, _ := fresh(t)
	count, fees := definition("block_count", "1"), definition("fees", "event.fees")
	changes := func(applied []postgres.AppliedMetric) (all []string) {
		for _, a := range applied {
			all = append(all, fmt.Sprintf("%s %s %v", a.Name, a.Change, a.Since))
		}
		return all
	}
	check := func(want []string, definitions ...metric.Definition) {
		t.Helper()
		if diff := cmp.Diff(want, changes(apply(t, store, definitions...))); diff != "" {
			t.Error(diff)
		}
	}
	check([]string{"block_count created map[]"}, count)
	put(t, store, aggregate.Effects{Mark: mark(5), Buckets: []aggregate.Bucket{bucketOf(t, store, "block_count")}})
	version := registry(t, store).Version
	check([]string{"block_count unchanged map[]"}, count)
	if got := registry(t, store).Version; got != version {
		t.Errorf("version %d after nothing changed, want %d", got, version)
	}

	since := "map[" + stream + ":0-5]"
	count.Description = "Blocks"
	check([]string{"fees created " + since, "block_count updated map[]"}, fees, count)
	if got := registry(t, store).Version; got <= version {
		t.Errorf("version %d after a change, want more than %d", got, version)
	}

	put(t, store, aggregate.Effects{Mark: mark(6)})
	fees.Description = "Fees"
	check([]string{"fees updated " + since}, fees) // the calculation is the same
	fees.Calculation.Stream = &metric.Stream{EventType: "block", Value: "event.fee"}
	check([]string{"fees updated map[" + stream + ":0-6]"}, fees)

	m, err := store.Metric(t.Context(), "fees")
	if err != nil {
		t.Fatal(err)
	}
	want := postgres.RegisteredMetric{
		ID: m.ID, Version: 3, Definition: fees, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt,
		Since: map[string]events.ID{stream: {Minor: 6}},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	if !m.UpdatedAt.After(m.CreatedAt) {
		t.Errorf("updated %s, created %s", m.UpdatedAt, m.CreatedAt)
	}
}

// TestApplyMetricsChangesWhatHasBuckets: they are outdated, those of what is gone are deleted, and what is lacking is noted.
func TestApplyMetricsChangesWhatHasBuckets(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	apply(t, store, definition("block_count", "1"), definition("fees", "event.fees"))
	put(t, store, aggregate.Effects{Mark: mark(1), Buckets: []aggregate.Bucket{bucketOf(t, store, "block_count")}})
	put(t, store, aggregate.Effects{Mark: mark(2), Buckets: []aggregate.Bucket{bucketOf(t, store, "fees")}})
	conn := connect(t, url)
	oldest := func() []int64 {
		return column[int64](t, conn, "select oldest_generation from metric_registry order by name")
	}
	lacking := func() []string {
		return column[string](t, conn, `select concat_ws(' ', name, function, until_id) from pending_ranges
			join metric_registry using (metric_id) order by name, function`)
	}
	if diff := cmp.Diff([]int64{0, 0}, oldest()); diff != "" || len(lacking()) > 0 {
		t.Errorf("%s%v", diff, lacking())
	}
	other := definition("fees", "event.fees")
	other.Type = "gauge"
	apply(t, store, other)
	if got := oldest(); got[0] != 0 || got[1] == 0 {
		t.Errorf("oldest generations %v, want that of fees to be one", got)
	}
	if got := lacking(); len(got) > 0 { // gauge has not begun with any stream
		t.Errorf("lacking: %v", got)
	}
	counter := definition("block_count", "2")
	apply(t, store, counter)
	if diff := cmp.Diff([]string{"block_count counter 0-2"}, lacking()); diff != "" {
		t.Error(diff)
	}
	if n := column[int64](t, conn, "select count(*) from metrics_data")[0]; n != 2 {
		t.Errorf("%d buckets, want 2", n)
	}
	before := oldest()
	counter.BucketSizes = []bucket.Size{bucket.Monthly}
	apply(t, store, counter)
	if n := column[int64](t, conn, "select count(*) from metrics_data")[0]; n != 1 {
		t.Errorf("%d buckets, want that of fees", n)
	}
	if diff := cmp.Diff(before, oldest()); diff != "" {
		t.Errorf("other bucket sizes are no other calculation: %s", diff)
	}
	if _, err := store.ApplyMetrics(t.Context(), []metric.Definition{definition("a", "1"), definition("a", "1")}); err == nil {
		t.Error("the same name twice was accepted")
	}
}

func TestDeleteMetric(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	if _, err := store.DeleteMetric(t.Context(), "block_count"); !errors.Is(err, postgres.ErrUnknownMetric) {
		t.Errorf("got %v, want %v", err, postgres.ErrUnknownMetric)
	}
	apply(t, store, definition("block_count", "1"), definition("fees", "event.fees"))
	effects := aggregate.Effects{Mark: mark(1), Buckets: []aggregate.Bucket{bucketOf(t, store, "fees")}}
	doomed := bucketOf(t, store, "block_count")
	effects.MetricErrors = []aggregate.MetricError{{Metric: doomed.Key.Metric, Reason: "x", Count: 1}}
	effects.Sets = []aggregate.WindowSets{{Window: doomed.Key.AllDimensions(), Count: 1}}
	put(t, store, effects)
	conn := connect(t, url)
	put(t, store, aggregate.Effects{Mark: mark(2), Buckets: []aggregate.Bucket{doomed}})
	execute(t, conn, `insert into metrics_data (metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, state)
		select $1, 'daily', d, d + interval '1 day', 'bitcoin', jsonb_build_object('n', n::text), 1, ''
		from generate_series('2009-01-04'::timestamptz, '2009-01-08', '1 day') d, generate_series(1, 2100) n`, doomed.Key.Metric)
	before := registry(t, store)
	deleted, err := store.DeleteMetric(t.Context(), "block_count")
	if err != nil || deleted != 5*2100+1 {
		t.Errorf("got %d, %v", deleted, err)
	}
	after := registry(t, store)
	if after.Version <= before.Version || len(after.Metrics) != 1 {
		t.Errorf("got %+v after %+v", after, before)
	}
	if n := column[int64](t, conn, `select (select count(*) from metrics_data) + (select count(*) from metric_registry) +
		(select count(*) from metric_versions) + (select count(*) from metric_errors) + (select count(*) from windows)`)[0]; n != 3 {
		t.Errorf("%d rows are left, want those of fees", n)
	}
	if _, err := store.DeleteMetric(t.Context(), "block_count"); !errors.Is(err, postgres.ErrUnknownMetric) {
		t.Errorf("again: got %v, want %v", err, postgres.ErrUnknownMetric)
	}
	apply(t, store, definition("block_count", "2"))
	if again := bucketOf(t, store, "block_count"); again.Key.Metric == doomed.Key.Metric {
		t.Error("the id is used again")
	}
}

// What a crash in the middle of a deletion leaves is taken up by whatever comes next.
func TestDeletionIsContinued(t *testing.T) {
	t.Parallel()
	next := map[string]func(context.Context, *postgres.Store) (int64, error){
		"same deletion": func(ctx context.Context, s *postgres.Store) (int64, error) { return s.DeleteMetric(ctx, "block_count") },
		"another deletion": func(ctx context.Context, s *postgres.Store) (int64, error) {
			_, err := s.DeleteMetric(ctx, "fees")
			return 1, err
		},
		"same name": func(ctx context.Context, s *postgres.Store) (int64, error) {
			_, err := s.ApplyMetrics(ctx, []metric.Definition{definition("block_count", "2")})
			return 1, err
		},
	}
	for name, call := range next {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, url := fresh(t)
			apply(t, store, definition("block_count", "1"), definition("fees", "event.fees"))
			put(t, store, aggregate.Effects{Mark: mark(1), Buckets: []aggregate.Bucket{bucketOf(t, store, "block_count")}})
			conn := connect(t, url)
			execute(t, conn, "update metric_registry set deleted_at = now() where name = 'block_count'")
			if _, err := store.Metric(t.Context(), "block_count"); !errors.Is(err, postgres.ErrUnknownMetric) {
				t.Errorf("got %v, want %v", err, postgres.ErrUnknownMetric)
			}
			if deleted, err := call(t.Context(), store); err != nil || deleted != 1 {
				t.Errorf("got %d, %v", deleted, err)
			}
			if n := column[int64](t, conn, "select count(*) from metrics_data")[0]; n != 0 {
				t.Errorf("%d buckets are left", n)
			}
			if n := column[int64](t, conn, "select count(*) from metric_registry where deleted_at is not null")[0]; n != 0 {
				t.Errorf("%d deleted metrics are left", n)
			}
		})
	}
}

// A function that evaluates while definitions change sees the change under the lock, so that nothing is stored under the
// old ones; and pairs that are entered meanwhile have a version of their own.
func TestChangesMeetCommits(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	apply(t, store, definition("block_count", "1"))
	var work sync.WaitGroup
	done := make(chan struct{})
	for i := range 3 {
		name := fmt.Sprintf("stream_%d", i)
		mine := open(t, settings(url))
		work.Go(func() {
			for n := uint64(1); ; n++ {
				select {
				case <-done:
					return
				default:
				}
				known, err := mine.Registry(t.Context(), function, name)
				if err != nil {
					t.Error(err)
					return
				}
				var buckets []aggregate.Bucket
				var keys []bucket.Key
				for _, m := range known.Metrics {
					k := key(bucket.Daily, "2009-01-03 00:00:00", `{}`)
					k.Metric, k.Chain = m.ID, name
					keys, buckets = append(keys, k), append(buckets, aggregate.Bucket{Key: k, State: []byte{1}})
				}
				request := aggregate.CommitRequest{Function: function, Stream: name, Keys: keys}
				err = commit(t.Context(), mine, request, func(c aggregate.Current) (aggregate.Effects, error) {
					if c.Version != known.Version {
						return aggregate.Effects{}, nil
					}
					return aggregate.Effects{Mark: mark(n), Buckets: buckets}, nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 20 {
		apply(t, store, definition("fees", fmt.Sprint(i)))
		if _, err := store.DeleteMetric(t.Context(), "fees"); err != nil {
			t.Error(err)
		}
	}
	close(done)
	work.Wait()
	if n := column[int64](t, connect(t, url), `select count(*) from metrics_data d
		where not exists (select from metric_registry r where r.metric_id = d.metric_id)`)[0]; n != 0 {
		t.Errorf("%d buckets of deleted metrics are left", n)
	}
	final := registry(t, store)
	for i := range 3 {
		r, err := store.Registry(t.Context(), function, fmt.Sprintf("stream_%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(final.Metrics, r.Metrics); diff != "" {
			t.Error(diff)
		}
	}
}

func TestVersionsAreNeverUsedAgain(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	before := registry(t, store).Version
	execute(t, connect(t, url), "delete from stream_watermarks")
	if after := registry(t, store).Version; after <= before {
		t.Errorf("version %d of a row made anew, want more than %d", after, before)
	}
}
