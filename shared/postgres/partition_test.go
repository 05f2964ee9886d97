package postgres_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const leaves = `select relid::regclass::text from pg_partition_tree('metrics_data') where level = 2 order by 1`

func TestPartitions(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		size bucket.Size
		at   string
		want []string
	}{
		"first minute":          {bucket.Minutely, "2009-01-01 00:00:00", []string{"metrics_data_minutely_2009_01"}},
		"last minute of a year": {bucket.Minutely, "2009-12-31 23:59:59.999999", []string{"metrics_data_minutely_2009_12", "metrics_data_minutely_2010_01"}},
		"leap day":              {bucket.Minutely, "2024-02-28 12:00:00", []string{"metrics_data_minutely_2024_02"}},
		"ten minutes":           {bucket.TenMinutely, "2015-06-01 00:00:00", []string{"metrics_data_10_minutely_2015"}},
		"year end":              {bucket.Hourly, "2019-12-31 23:59:59.999999", []string{"metrics_data_hourly_2019", "metrics_data_hourly_2020"}},
		"decade end":            {bucket.Daily, "2019-12-31 23:59:59.999999", []string{"metrics_data_daily_2010s", "metrics_data_daily_2020s"}},
		"week over a year end":  {bucket.Weekly, "2020-01-01 00:00:00", []string{"metrics_data_weekly_2010s"}},
		"week over the first":   {bucket.Weekly, "2009-01-03 00:00:00", []string{"metrics_data_weekly_2000s"}},
		"month":                 {bucket.Monthly, "2030-01-31 00:00:00", []string{"metrics_data_monthly_2030s"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, url := fresh(t)
			k := bucket.Key{Metric: 1, Size: c.size, Start: c.size.Window(at(c.at)).Start, Chain: "bitcoin", Dimensions: "{}"}
			for i := range uint64(2) {
				put(t, store, aggregate.Effects{Mark: mark(i + 1), Buckets: []aggregate.Bucket{{Key: k, State: []byte{7}}}})
			}
			if got := get(t, store, k).States[k]; string(got) != "\x07" {
				t.Errorf("got state %v", got)
			}
			conn := connect(t, url)
			if diff := cmp.Diff(c.want, column[string](t, conn, leaves)); diff != "" {
				t.Error(diff)
			}
			starts := column[time.Time](t, conn, "select bucket_start from metrics_data")
			ends := column[time.Time](t, conn, "select bucket_end from metrics_data")
			if !starts[0].Equal(k.Start) || !ends[0].Equal(c.size.Window(k.Start).End) {
				t.Errorf("got window %s to %s", starts[0], ends[0])
			}
		})
	}
}

func TestPartitionsAreMadeBesideReaders(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	cfg := settings(url)
	cfg.LockTimeout = time.Second
	store := open(t, cfg)
	put(t, store, aggregate.Effects{Mark: mark(1), Buckets: []aggregate.Bucket{
		{Key: key(bucket.Hourly, "2009-01-03 00:00:00", `{}`), State: []byte{1}},
	}})
	reader := connect(t, url)
	execute(t, reader, "begin")
	execute(t, reader, "select count(*) from metrics_data")
	execute(t, reader, "update metrics_data set updated_at = updated_at where false") // and holds a writer's lock
	for year := range 5 {
		put(t, store, aggregate.Effects{Mark: mark(uint64(year) + 2), Buckets: []aggregate.Bucket{
			{Key: key(bucket.Minutely, fmt.Sprintf("%d-05-03 00:00:00", 2010+year), `{}`), State: []byte{1}},
			{Key: key(bucket.Hourly, fmt.Sprintf("%d-01-03 00:00:00", 2010+year), `{}`), State: []byte{1}},
		}})
	}
	if n := column[int64](t, reader, "select count(*) from metrics_data")[0]; n != 11 {
		t.Errorf("the reader sees %d buckets, want 11", n)
	}
	execute(t, reader, "commit")
}

func TestPartitionsAreMadeByManyAtOnce(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	var work sync.WaitGroup
	for i := range 4 {
		store := open(t, settings(url))
		work.Go(func() {
			for n := range 12 {
				k := key(bucket.Minutely, fmt.Sprintf("2012-%02d-03 00:00:00", n+1), `{}`)
				if i%2 == 1 { // from the other end
					k = key(bucket.Minutely, fmt.Sprintf("2012-%02d-03 00:00:00", 12-n), `{}`)
				}
				request := aggregate.CommitRequest{Function: fmt.Sprint(function, i), Stream: stream, Keys: []bucket.Key{k}}
				k.Metric = int64(i)
				err := commit(t.Context(), store, request, func(aggregate.Current) (aggregate.Effects, error) {
					return aggregate.Effects{Mark: mark(uint64(n) + 1), Buckets: []aggregate.Bucket{{Key: k, State: []byte{1}}}}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	conn := connect(t, url)
	if got := len(column[string](t, conn, leaves)); got != 12 {
		t.Errorf("%d partitions, want 12", got)
	}
	if n := column[int64](t, conn, "select count(*) from metrics_data")[0]; n != 48 {
		t.Errorf("%d buckets, want 48", n)
	}
}

func TestPartitionsThatAreInTheWay(t *testing.T) {
	t.Parallel()
	k := key(bucket.Hourly, "2009-01-03 00:00:00", `{}`)
	request := aggregate.CommitRequest{Function: function, Stream: stream, Keys: []bucket.Key{k}}
	commit := func(t *testing.T, store *postgres.Store) error {
		t.Helper()
		return commit(t.Context(), store, request, func(c aggregate.Current) (aggregate.Effects, error) {
			return aggregate.Effects{Mark: mark(c.Mark.ID.Minor + 1), Buckets: []aggregate.Bucket{{Key: k, State: []byte{1}}}}, nil
		})
	}
	cases := map[string]struct {
		before string
		want   string // part of the error
	}{
		"left over and empty": {"create table metrics_data_hourly_2009 (like metrics_data_hourly including all)", ""},
		"other windows": {
			`create table metrics_data_hourly_2009 partition of metrics_data_hourly for values from ('2008-01-01 00:00Z') to ('2009-01-01 00:00Z')`,
			"holds another range",
		},
		"overlapping": {
			`create table mine partition of metrics_data_hourly for values from ('2008-01-01 00:00Z') to ('2010-01-01 00:00Z')`,
			"would overlap",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, url := fresh(t)
			execute(t, connect(t, url), c.before)
			err := commit(t, store)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Run("removed", func(t *testing.T) {
		t.Parallel()
		store, url := fresh(t)
		if err := commit(t, store); err != nil {
			t.Fatal(err)
		}
		execute(t, connect(t, url), "drop table metrics_data_hourly_2009")
		if err := commit(t, store); err == nil {
			t.Error("a commit into a partition that was removed succeeded")
		}
		if err := commit(t, store); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

// identities are the partitions with what changes where one is made again.
const identities = `select relid::regclass::text || ' ' || relid::oid::text from pg_partition_tree('metrics_data')
	where level = 2 order by 1`

func renew(t *testing.T, store *postgres.Store, size bucket.Size, now string) {
	t.Helper()
	if err := store.RenewPartitions(t.Context(), size, at(now)); err != nil {
		t.Fatal(err)
	}
}

func TestRenewPartitions(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		size bucket.Size
		now  string
		want []string
	}{
		"month":                {bucket.Minutely, "2024-02-29 12:00:00", []string{"metrics_data_minutely_2024_02", "metrics_data_minutely_2024_03"}},
		"month at a year end":  {bucket.Minutely, "2019-12-31 23:59:59", []string{"metrics_data_minutely_2019_12", "metrics_data_minutely_2020_01"}},
		"ten minutes":          {bucket.TenMinutely, "2024-06-01 00:00:00", []string{"metrics_data_10_minutely_2024", "metrics_data_10_minutely_2025"}},
		"year end":             {bucket.Hourly, "2026-12-31 00:00:00", []string{"metrics_data_hourly_2026", "metrics_data_hourly_2027"}},
		"year's beginning":     {bucket.Hourly, "2027-01-01 00:00:00", []string{"metrics_data_hourly_2027", "metrics_data_hourly_2028"}},
		"decade end":           {bucket.Daily, "2029-12-31 23:59:59", []string{"metrics_data_daily_2020s", "metrics_data_daily_2030s"}},
		"week over a year end": {bucket.Weekly, "2030-01-01 00:00:00", []string{"metrics_data_weekly_2020s", "metrics_data_weekly_2030s"}},
		"next decade's week":   {bucket.Weekly, "2030-01-07 00:00:00", []string{"metrics_data_weekly_2030s", "metrics_data_weekly_2040s"}},
		"months":               {bucket.Monthly, "2024-01-01 00:00:00", []string{"metrics_data_monthly_2020s", "metrics_data_monthly_2030s"}},
		"first instant":        {bucket.Hourly, "2009-01-01 00:00:00", []string{"metrics_data_hourly_2009", "metrics_data_hourly_2010"}},
		"last year":            {bucket.Hourly, "2099-12-31 23:59:59", []string{"metrics_data_hourly_2099", "metrics_data_hourly_2100"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, url := fresh(t)
			conn := connect(t, url)
			renew(t, store, c.size, c.now)
			if diff := cmp.Diff(c.want, column[string](t, conn, leaves)); diff != "" {
				t.Error(diff)
			}
			before := column[string](t, conn, identities)
			renew(t, store, c.size, c.now)
			if diff := cmp.Diff(before, column[string](t, conn, identities)); diff != "" {
				t.Errorf("the second call changed (-before +after):\n%s", diff)
			}
		})
	}
}

// A clock in another zone has another year for some hours; windows are of UTC.
func TestRenewPartitionsInAnotherZone(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	now := at("2026-12-31 23:30:00").In(time.FixedZone("", int(time.Hour.Seconds())))
	if err := store.RenewPartitions(t.Context(), bucket.Hourly, now); err != nil {
		t.Fatal(err)
	}
	want := []string{"metrics_data_hourly_2026", "metrics_data_hourly_2027"}
	if diff := cmp.Diff(want, column[string](t, connect(t, url), leaves)); diff != "" {
		t.Error(diff)
	}
}

func TestRenewPartitionsBringsBackWhatWasRemoved(t *testing.T) {
	t.Parallel()
	removals := map[string]string{
		"current, dropped":  "drop table metrics_data_hourly_2026",
		"next, dropped":     "drop table metrics_data_hourly_2027",
		"current, detached": "alter table metrics_data_hourly detach partition metrics_data_hourly_2026",
	}
	for name, removal := range removals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, url := fresh(t)
			conn := connect(t, url)
			effects := aggregate.Effects{Buckets: []aggregate.Bucket{
				{Key: key(bucket.Hourly, "2026-12-31 23:00:00", `{}`), State: []byte{1}},
				{Key: key(bucket.Hourly, "2027-01-01 00:00:00", `{}`), State: []byte{1}},
			}}
			effects.Mark = mark(1)
			put(t, store, effects) // the store remembers both
			execute(t, conn, removal)
			renew(t, store, bucket.Hourly, "2026-12-31 12:00:00")
			effects.Mark = mark(2)
			put(t, store, effects)
			if n := column[int64](t, conn, "select count(*) from metrics_data")[0]; n != 2 {
				t.Errorf("%d buckets, want 2", n)
			}
		})
	}
}

func TestRenewPartitionsByManyAtOnce(t *testing.T) {
	t.Parallel()
	one, url := fresh(t)
	stores := []*postgres.Store{one, one, open(t, settings(url)), open(t, settings(url))}
	begin := make(chan struct{})
	var work sync.WaitGroup
	for _, store := range stores {
		work.Go(func() {
			<-begin
			for _, size := range bucket.Sizes() {
				if err := store.RenewPartitions(t.Context(), size, at("2026-12-31 12:00:00")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	close(begin)
	work.Wait()
	if got := column[string](t, connect(t, url), leaves); len(got) != 2*len(bucket.Sizes()) {
		t.Errorf("partitions are %q, want two of each size", got)
	}
}

// Renewing must not wait for the stream, nor the stream for it.
func TestRenewPartitionsBesideACommit(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	cfg := settings(url)
	cfg.LockTimeout = time.Second
	store := open(t, cfg)
	keys := []bucket.Key{key(bucket.Hourly, "2026-12-31 23:00:00", `{}`)}
	request := aggregate.CommitRequest{Function: function, Stream: stream, Keys: keys}
	err := commit(t.Context(), store, request, func(aggregate.Current) (aggregate.Effects, error) {
		if err := store.RenewPartitions(t.Context(), bucket.Hourly, at("2027-06-01 00:00:00")); err != nil {
			return aggregate.Effects{}, err
		}
		return aggregate.Effects{Mark: mark(1), Buckets: []aggregate.Bucket{{Key: keys[0], State: []byte{1}}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"metrics_data_hourly_2026", "metrics_data_hourly_2027", "metrics_data_hourly_2028"}
	if diff := cmp.Diff(want, column[string](t, connect(t, url), leaves)); diff != "" {
		t.Error(diff)
	}
}

func TestRenewPartitionsRefusesAWrongClock(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	for _, now := range []time.Time{
		{}, time.Unix(0, 0), at("2008-12-31 23:59:59.999999"), at("2100-01-01 00:00:00"), time.Unix(1<<40, 0),
	} {
		err := store.RenewPartitions(t.Context(), bucket.Hourly, now)
		if err == nil || !strings.Contains(err.Error(), "the clock is wrong") {
			t.Errorf("%s: got %v", now, err)
		}
	}
	if made := column[string](t, connect(t, url), leaves); len(made) != 0 {
		t.Errorf("made %q", made)
	}
}

// The cost of a commit must not grow with history: it looks only at the partitions of its keys, by their indexes, also
// with plans from when the tables were nearly empty.
func TestCommitTouchesOnlyItsPartitions(t *testing.T) {
	t.Parallel()
	maker, url := fresh(t)
	for month := range 24 {
		put(t, maker, aggregate.Effects{Mark: mark(uint64(month) + 1), Buckets: []aggregate.Bucket{{
			Key:   key(bucket.Minutely, fmt.Sprintf("%d-%02d-05 00:00:00", 2011+month/12, month%12+1), `{}`),
			State: []byte{1},
		}}})
	}
	keys := []bucket.Key{
		key(bucket.Minutely, "2012-05-05 00:00:00", `{}`),
		key(bucket.Minutely, "2012-05-05 00:01:00", `{}`),
		key(bucket.Daily, "2012-05-05 00:00:00", `{}`),
	}
	effects := aggregate.Effects{Mark: mark(100)}
	for _, k := range keys {
		effects.Buckets = append(effects.Buckets, aggregate.Bucket{Key: k, State: []byte{1}, Value: decimal.FromInt64(1)})
	}
	put(t, maker, effects)
	maker.Close() // a session's statistics appear when it ends
	conn := connect(t, url)
	statistic := func(name string) int64 {
		t.Helper()
		return column[int64](t, conn, "select coalesce(sum("+name+"), 0)::int8 from pg_stat_user_tables where relname like 'metrics_data%'")[0]
	}
	await := func(name string, n int64) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); statistic(name) < n; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s is %d, want %d", name, statistic(name), n)
			}
		}
	}
	await("n_tup_ins", 24+2)
	before := statistic("seq_scan")
	execute(t, conn, "analyze metrics_data_minutely_2012_05, metrics_data_daily_2010s") // small: worth a plan that reads all

	store := open(t, settings(url))
	request := aggregate.CommitRequest{Function: function, Stream: stream, Keys: keys}
	var locked []string
	commit := func(i uint64) {
		t.Helper()
		err := commit(t.Context(), store, request, func(aggregate.Current) (aggregate.Effects, error) {
			locked = column[string](t, conn, `select distinct relation::regclass::text from pg_locks
				where database = (select oid from pg_database where datname = current_database())
				and pid <> pg_backend_pid() and relation::regclass::text like 'metrics_data%'
				and relation::regclass::text not like '%pkey' order by 1`)
			effects.Mark = mark(i)
			return effects, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(8) { // beyond the fifth execution, after which a plan is kept
		commit(101 + i)
	}
	execute(t, conn, `insert into metrics_data (metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, state)
		select 1, 'minutely', m, m + interval '1 minute', 'bitcoin', jsonb_build_object('n', n::text), 1, ''
		from generate_series('2012-05-06'::timestamptz, '2012-05-06 01:00', '1 minute') m, generate_series(1, 100) n`)
	for i := range uint64(8) {
		commit(201 + i)
	}
	if diff := cmp.Diff([]string{"metrics_data_daily_2010s", "metrics_data_minutely_2012_05"}, locked); diff != "" {
		t.Error(diff)
	}
	store.Close()
	await("n_tup_upd", 1+16*3)
	if after := statistic("seq_scan"); after != before {
		t.Errorf("%d sequential scans", after-before)
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, partitions := range []int{1, 200} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) { benchmarkCommit(b, partitions) })
	}
}
