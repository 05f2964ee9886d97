package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

const (
	function = "counter"
	stream   = "blockchain_events:bitcoin"
)

func number(t testing.TB, text string) decimal.Decimal {
	t.Helper()
	d, err := decimal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func at(text string) time.Time {
	instant, err := time.Parse("2006-01-02 15:04:05.999999", text)
	if err != nil {
		panic(err)
	}
	return instant
}

func key(size bucket.Size, start string, dimensions string) bucket.Key {
	return bucket.Key{Metric: 1, Size: size, Start: at(start), Chain: "bitcoin", Dimensions: dimensions}
}

func mark(minor uint64) watermark.Mark {
	return watermark.Mark{ID: events.ID{Minor: minor}, Hash: "hash " + strconv.FormatUint(minor, 10)}
}

// commit commits as a function does: where there is no row yet, it reads the registry and tries again.
func commit(
	ctx context.Context, store *postgres.Store, request aggregate.CommitRequest,
	decide func(aggregate.Current) (aggregate.Effects, error),
) error {
	err := store.Commit(ctx, request, decide)
	if errors.Is(err, aggregate.ErrStale) {
		if _, err := store.Registry(ctx, request.Function, request.Stream); err != nil {
			return err
		}
		err = store.Commit(ctx, request, decide)
	}
	return err
}

// put commits effects whatever the store holds.
func put(t *testing.T, store *postgres.Store, effects aggregate.Effects) {
	t.Helper()
	request := aggregate.CommitRequest{Function: function, Stream: stream}
	for _, b := range effects.Buckets {
		request.Keys = append(request.Keys, b.Key)
	}
	err := commit(t.Context(), store, request, func(aggregate.Current) (aggregate.Effects, error) { return effects, nil })
	if err != nil {
		t.Fatal(err)
	}
}

// get reads what the store holds for the keys.
func get(t *testing.T, store *postgres.Store, keys ...bucket.Key) (current aggregate.Current) {
	t.Helper()
	request := aggregate.CommitRequest{Function: function, Stream: stream, Keys: keys}
	err := commit(t.Context(), store, request, func(c aggregate.Current) (aggregate.Effects, error) {
		current = c
		return aggregate.Effects{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return current
}

func TestCommitStoresAndReads(t *testing.T) {
	t.Parallel()
	store, _ := fresh(t)
	keys := []bucket.Key{
		key(bucket.Minutely, "2009-01-03 18:15:00", `{}`),
		key(bucket.TenMinutely, "2009-01-03 18:10:00", `{}`),
		key(bucket.Hourly, "2009-01-03 18:00:00", `{}`),
		key(bucket.Hourly, "2009-01-03 18:00:00", `{"to":"a"}`),
		key(bucket.Hourly, "2009-01-03 18:00:00", `{"kind":"p\"2 é","to":"a"}`),
		key(bucket.Hourly, "2010-01-01 00:00:00", `{}`),
		key(bucket.Daily, "2009-01-03 00:00:00", `{}`),
		key(bucket.Weekly, "2008-12-29 00:00:00", `{}`),
		key(bucket.Monthly, "2009-01-01 00:00:00", `{}`),
	}
	slices.SortFunc(keys, bucket.Key.Compare)
	effects := aggregate.Effects{Mark: mark(1)}
	want := make(map[bucket.Key][]byte)
	for i, k := range keys {
		want[k] = []byte{byte(i), 0, 255}
		effects.Buckets = append(effects.Buckets, aggregate.Bucket{Key: k, State: want[k], Value: decimal.FromInt64(int64(i))})
	}
	if got := get(t, store, keys...); len(got.States) != 0 || !got.Mark.ID.IsZero() || got.Mark.Hash != "" {
		t.Errorf("before: %+v", got)
	}
	put(t, store, effects)
	absent := key(bucket.Daily, "2009-01-04 00:00:00", `{}`)
	got := get(t, store, append(slices.Clone(keys), absent)...)
	if diff := cmp.Diff(want, got.States); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(mark(1), got.Mark); diff != "" {
		t.Error(diff)
	}
}

func TestCommitTakesTwoRoundTrips(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	proxy, url := through(t, url)
	cfg := settings(url)
	cfg.PoolSize = 1
	store := open(t, cfg)
	request := aggregate.CommitRequest{
		Function: function, Stream: stream,
		Pairs: []delivery.Pair{{Chain: "bitcoin", EventType: "block"}},
		Keys: []bucket.Key{
			key(bucket.Hourly, "2009-01-03 18:00:00", `{}`),
			key(bucket.Daily, "2009-01-03 00:00:00", `{}`),
			key(bucket.Weekly, "2008-12-29 00:00:00", `{}`),
		},
	}
	for i := range uint64(5) {
		before := proxy.trips.Load()
		err := commit(t.Context(), store, request, func(aggregate.Current) (aggregate.Effects, error) {
			effects := aggregate.Effects{Mark: mark(i + 1)}
			for _, k := range request.Keys {
				effects.Buckets = append(effects.Buckets, aggregate.Bucket{Key: k, State: []byte{1}})
			}
			return effects, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if trips := proxy.trips.Load() - before; i >= 2 && trips != 2 {
			t.Errorf("commit %d took %d round trips", i, trips)
		}
	}
}

func TestCommitsOfOneRowSerialise(t *testing.T) {
	t.Parallel()
	const writers, each = 6, 25
	first, url := fresh(t)
	stores := []*postgres.Store{first, open(t, settings(url))}
	counted := key(bucket.Daily, "2009-01-03 00:00:00", `{}`)
	request := aggregate.CommitRequest{
		Function: function, Stream: stream, Keys: []bucket.Key{counted},
		Pairs: []delivery.Pair{{Chain: "bitcoin", EventType: "block"}},
	}
	var work sync.WaitGroup
	for i := range writers {
		store := stores[i%len(stores)]
		work.Go(func() {
			for range each {
				err := commit(t.Context(), store, request, func(c aggregate.Current) (aggregate.Effects, error) {
					n, _ := strconv.Atoi(string(c.States[counted]))
					state := strconv.Itoa(n + 1)
					return aggregate.Effects{Mark: mark(c.Mark.ID.Minor + 1), Buckets: []aggregate.Bucket{
						{Key: counted, State: []byte(state), Value: decimal.FromInt64(int64(n + 1))},
					}}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	got := get(t, first, counted)
	if want := strconv.Itoa(writers * each); string(got.States[counted]) != want || got.Mark.ID.String() != "0-"+want {
		t.Errorf("got state %s at %s, want %s of each", got.States[counted], got.Mark.ID, want)
	}
}

func TestCommitStoresNothingWhere(t *testing.T) {
	t.Parallel()
	touched := key(bucket.Daily, "2009-01-03 00:00:00", `{}`)
	pair := delivery.Pair{Chain: "bitcoin", EventType: "block"}
	effects := aggregate.Effects{
		Mark:        mark(1),
		Buckets:     []aggregate.Bucket{{Key: touched, State: []byte{1}}},
		DeadLetters: []delivery.DeadLetter{{ID: events.ID{Minor: 1}, Reason: "x"}},
	}
	refusal := errors.New("refused")
	type scene struct {
		store *postgres.Store
		proxy *proxy
	}
	cases := map[string]struct {
		decide func(context.Context, scene) (aggregate.Effects, error)
		want   error // nil: any
		fails  bool
		idle   time.Duration // of a transaction until the server ends it; zero: as in production
	}{
		"decide fails": {
			decide: func(context.Context, scene) (aggregate.Effects, error) { return effects, refusal },
			want:   refusal, fails: true,
		},
		"there is nothing to store": {
			decide: func(context.Context, scene) (aggregate.Effects, error) {
				return aggregate.Effects{Buckets: effects.Buckets}, nil
			},
		},
		"the connection breaks": {
			decide: func(_ context.Context, s scene) (aggregate.Effects, error) { s.proxy.cut(); return effects, nil },
			fails:  true,
		},
		"decide takes too long": {
			idle: 500 * time.Millisecond,
			decide: func(context.Context, scene) (aggregate.Effects, error) {
				time.Sleep(2 * time.Second)
				return effects, nil
			},
			fails: true,
		},
		"a bucket is refused by the server": {
			decide: func(context.Context, scene) (aggregate.Effects, error) {
				broken := effects
				broken.Buckets = []aggregate.Bucket{{Key: touched, State: []byte{1}, Detail: []byte(`{`)}}
				return broken, nil
			},
			fails: true,
		},
		"a bucket has no partition": {
			decide: func(context.Context, scene) (aggregate.Effects, error) {
				broken := effects
				broken.Buckets = []aggregate.Bucket{{Key: key(bucket.Daily, "1999-01-03 00:00:00", `{}`), State: []byte{1}}}
				return broken, nil
			},
			fails: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			witness, url := fresh(t)
			proxy, proxied := through(t, url)
			cfg := settings(proxied)
			cfg.PoolSize = 1
			if c.idle > 0 {
				cfg.IdleTimeout = c.idle
			}
			store := open(t, cfg)
			request := aggregate.CommitRequest{
				Function: function, Stream: stream, Keys: []bucket.Key{touched}, Pairs: []delivery.Pair{pair},
			}
			commit := func(decide func() (aggregate.Effects, error)) error {
				return commit(t.Context(), store, request, func(aggregate.Current) (aggregate.Effects, error) { return decide() })
			}
			err := commit(func() (aggregate.Effects, error) { return c.decide(t.Context(), scene{store, proxy}) })
			if c.fails && err == nil || !c.fails && err != nil || c.want != nil && err != c.want { //nolint:errorlint // as it is
				t.Errorf("got error %v", err)
			}
			if got := get(t, witness, touched); len(got.States) != 0 || !got.Mark.ID.IsZero() {
				t.Errorf("stored: %+v", got)
			}
			if n := column[int64](t, connect(t, url), `select (select count(*) from stream_types) +
				(select count(*) from dead_letters) + (select count(*) from metrics_data)`); n[0] != 0 {
				t.Errorf("%d rows are stored", n[0])
			}
			if err := commit(func() (aggregate.Effects, error) { return effects, nil }); err != nil {
				t.Fatalf("the same again: %v", err)
			}
			if got := get(t, witness, touched); got.Mark.ID != effects.Mark.ID || len(got.States) != 1 {
				t.Errorf("the same again stored %+v", got)
			}
		})
	}
}

func TestCommitEndsAfterAPanic(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	cfg := settings(url)
	cfg.PoolSize = 1
	store := open(t, cfg)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		request := aggregate.CommitRequest{Function: function, Stream: stream}
		_ = commit(t.Context(), store, request, func(aggregate.Current) (aggregate.Effects, error) { panic("decide") })
	}()
	put(t, store, aggregate.Effects{Mark: mark(1)})
}

func TestCommitWaitsForALockOnlySoLong(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	cfg := settings(url)
	cfg.LockTimeout = 200 * time.Millisecond
	store := open(t, cfg)
	put(t, store, aggregate.Effects{Mark: mark(1)})
	conn := connect(t, url)
	execute(t, conn, "begin")
	execute(t, conn, "select from stream_watermarks for update")
	request := aggregate.CommitRequest{Function: function, Stream: stream}
	err := commit(t.Context(), store, request, func(aggregate.Current) (aggregate.Effects, error) {
		t.Error("decided without the lock")
		return aggregate.Effects{}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "commit counter on "+stream) {
		t.Errorf("got %v", err)
	}
	execute(t, conn, "rollback")
	put(t, store, aggregate.Effects{Mark: mark(2)})
}

func TestCommitKeepsAmountsExact(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	values := []string{
		"0", "-1", "18446744073709551616", "-170141183460469231731687303715884105729",
		"115792089237316195423570985008687907853269984665640564039457584007913129639936.000000000000000001",
		"0.00000001", "21000000", "123456789012345678901234567890123456789012345678901234567890.5",
	}
	effects := aggregate.Effects{Mark: mark(1)}
	for i, v := range values {
		k := key(bucket.Daily, "2009-01-01 00:00:00", `{}`)
		k.Start = k.Start.AddDate(0, 0, i)
		effects.Buckets = append(effects.Buckets, aggregate.Bucket{Key: k, State: []byte{1}, Value: number(t, v)})
	}
	put(t, store, effects)
	got := column[string](t, connect(t, url), "select value::text from metrics_data order by bucket_start")
	if diff := cmp.Diff(values, got); diff != "" {
		t.Error(diff)
	}
}

func TestCommitTakesLongDimensions(t *testing.T) {
	t.Parallel()
	store, _ := fresh(t)
	many := make(map[string]string)
	for i := 0; len(encoded(t, many)) < 1000; i++ {
		many[strconv.Itoa(i)] = string(rune('a' + i%26))
	}
	dimensions := map[string]string{
		"one long value": encoded(t, map[string]string{"to": random(1000)}),
		"many names":     encoded(t, many),
		"control bytes":  encoded(t, map[string]string{"to": strings.Repeat("\u0001\u001f\"\\", 50)}),
		"beyond ascii":   encoded(t, map[string]string{"naïve": strings.Repeat("日本🙂", 80)}),
	}
	effects := aggregate.Effects{Mark: mark(1)}
	for _, d := range dimensions {
		k := key(bucket.Hourly, "2009-01-03 18:00:00", d)
		k.Chain = strings.Repeat("c", 63)
		effects.Buckets = append(effects.Buckets, aggregate.Bucket{Key: k, State: []byte(d)})
	}
	slices.SortFunc(effects.Buckets, func(a, b aggregate.Bucket) int { return a.Key.Compare(b.Key) })
	put(t, store, effects)
	for _, b := range effects.Buckets {
		if got := get(t, store, b.Key).States[b.Key]; string(got) != b.Key.Dimensions {
			t.Errorf("dimensions %s: got state %s", b.Key.Dimensions, got)
		}
	}
}

func encoded(t *testing.T, dimensions map[string]string) string {
	t.Helper()
	text, err := json.Marshal(dimensions)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// random gives n letters that do not compress.
func random(n int) string {
	letters := make([]byte, n)
	seed := uint64(1)
	for i := range letters {
		seed = seed*6364136223846793005 + 1442695040888963407
		letters[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[seed>>58]
	}
	return string(letters)
}

// free gives the pairs that no stream owns.
func free(pairs []delivery.Pair, owners delivery.Owners) []delivery.Pair {
	return slices.DeleteFunc(slices.Clone(pairs), func(p delivery.Pair) bool {
		_, owned := owners[p]
		return owned
	})
}

func TestClaimOfAnOwnedPairFails(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	pairs := []delivery.Pair{{Chain: "bitcoin", EventType: "block"}}
	claim := func(stream string) error {
		request := aggregate.CommitRequest{Function: function, Stream: stream}
		return commit(t.Context(), open(t, settings(url)), request, func(aggregate.Current) (aggregate.Effects, error) {
			return aggregate.Effects{Mark: mark(1), Claims: pairs}, nil
		})
	}
	for range 2 { // another function may have claimed it for the same stream meanwhile
		if err := claim("a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := claim("b"); err == nil {
		t.Error("a pair was taken from another stream")
	}
}

func TestPairsBelongToTheFirstStream(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	block := delivery.Pair{Chain: "bitcoin", EventType: "block"}
	transaction := delivery.Pair{Chain: "bitcoin", EventType: "transaction"}
	owners := func(store *postgres.Store, stream string, keep bool, pairs ...delivery.Pair) (got delivery.Owners) {
		request := aggregate.CommitRequest{Function: function, Stream: stream, Pairs: pairs}
		err := commit(t.Context(), store, request, func(c aggregate.Current) (aggregate.Effects, error) {
			got = c.Owners
			if !keep {
				return aggregate.Effects{}, nil
			}
			return aggregate.Effects{Mark: mark(c.Mark.ID.Minor + 1), Claims: free(pairs, c.Owners)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	other := open(t, settings(url))
	steps := []struct {
		name   string
		store  *postgres.Store
		stream string
		keep   bool
		pairs  []delivery.Pair
		want   delivery.Owners
	}{
		{"not kept", store, "a", false, []delivery.Pair{block}, delivery.Owners{}},
		{"first", store, "b", true, []delivery.Pair{block}, delivery.Owners{}},
		{"known", store, "b", true, []delivery.Pair{block}, delivery.Owners{block: "b"}},
		{
			"another stream", store, "a", true,
			[]delivery.Pair{block, transaction},
			delivery.Owners{block: "b"},
		},
		{
			"another process", other, "c", true,
			[]delivery.Pair{block, transaction},
			delivery.Owners{block: "b", transaction: "a"},
		},
	}
	for _, step := range steps {
		got := owners(step.store, step.stream, step.keep, step.pairs...)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
}

func TestFunctionsThatClaimTheSamePairsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	_, url := fresh(t)
	var pairs []delivery.Pair
	for i := range 50 {
		pairs = append(pairs, delivery.Pair{Chain: "bitcoin", EventType: fmt.Sprintf("type_%02d", i)})
	}
	var work sync.WaitGroup
	for i := range 4 {
		store := open(t, settings(url))
		work.Go(func() {
			for n := range uint64(10) {
				request := aggregate.CommitRequest{Function: function + strconv.Itoa(i), Stream: stream, Pairs: pairs[:5*(n+1)]}
				err := commit(t.Context(), store, request, func(c aggregate.Current) (aggregate.Effects, error) {
					return aggregate.Effects{Mark: mark(n + 1), Claims: free(request.Pairs, c.Owners)}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
}

func TestTroubles(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	applied := apply(t, store, definition("block_count", "1"))
	if applied[0].Change != postgres.Created {
		t.Fatalf("got %v", applied)
	}
	metrics, err := store.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := metrics[0].ID
	long := strings.Repeat("é", 400)
	revert := events.Revert{Ancestor: events.ID{Minor: 7}, Number: 1<<64 - 1, Hash: "00ab"}
	effects := aggregate.Effects{
		Mark: mark(1),
		DeadLetters: []delivery.DeadLetter{
			{ID: events.ID{Minor: 1}, Reason: "broken\x00 \xff", Content: json.RawMessage(`{"a":"\u0000\ud800"}`)},
			{ID: events.ID{Minor: 2}, Reason: long, Content: json.RawMessage(strings.Repeat(" ", 1<<20+1))},
			{ID: events.ID{Minor: 3}, Reason: "nothing"},
			{ID: events.ID{Minor: 4}, Reason: "deep", Content: json.RawMessage(strings.Repeat("[", 200_000) + "\xff")},
		},
		MetricErrors: []aggregate.MetricError{
			{Metric: id, Reason: long + "1", Count: 2, Sample: events.ID{Minor: 1}},
			{Metric: id, Reason: long + "2", Count: 3, Sample: events.ID{Minor: 2}},
			{Metric: id, Reason: "no such field", Count: 1, Sample: events.ID{Minor: 3}},
		},
		Reverts: []aggregate.PendingRevert{{ID: events.ID{Major: 1}, Revert: revert}},
	}
	for i := range uint64(2) { // the second function, or the same again
		effects.Mark = mark(i + 1)
		put(t, store, effects)
	}
	conn := connect(t, url)
	for _, from := range []int{0, 15, 17, 20} { // 10 to 14 are missing, and 16 and 17 are of two branches
		const insert = `insert into coverage_segments select $1, 'bitcoin', $2::bigint, case $2 when 0 then 9 when 15 then 16 else $2 + 2 end,
			now(), now(), now(), '', '', null, null`
		if _, err := conn.Exec(t.Context(), insert, stream, from); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.Troubles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Notices.Since == nil {
		t.Error("nobody knows since when a notice waits")
	}
	if got.DeadLetterAt == nil {
		t.Error("nobody knows when the newest dead letter came")
	}
	got.Notices.Since, got.DeadLetterAt = nil, nil
	cut := strings.Repeat("é", 250)
	want := postgres.Troubles{
		DeadLetters: 4,
		MetricErrors: []postgres.MetricTrouble{
			{Metric: "block_count", Stream: stream, Reason: "no such field", Count: 2, Sample: events.ID{Minor: 3}},
			{Metric: "block_count", Stream: stream, Reason: cut, Count: 10, Sample: events.ID{Minor: 2}},
		},
		PendingReverts: []postgres.FunctionRevert{
			{Function: function, Stream: stream, ID: events.ID{Major: 1}, Revert: revert},
		},
		MissingBlocks: []postgres.MissingBlocks{{Stream: stream, Chain: "bitcoin", Holes: 3, Blocks: 5}},
		FailedRuns:    []postgres.FailedRuns{},
		Blocked:       []postgres.BlockedWindows{},
		Notices:       postgres.NoticeTrouble{Waiting: 1}, // of the metric
	}
	ignoreTimes := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().Type() == reflectTime }, cmp.Ignore())
	if diff := cmp.Diff(want, got, ignoreTimes, cmp.Comparer(func(a, b []postgres.AcceptedHole) bool { return len(a) == len(b) })); diff != "" {
		t.Error(diff)
	}
	lengths := column[string](t, conn,
		"select content_length || ' ' || octet_length(content) from dead_letters order by entry_id")
	if diff := cmp.Diff([]string{"20 20", "1048577 1048576", "0 0", "200001 200001"}, lengths); diff != "" {
		t.Error(diff)
	}
	reasons := column[string](t, conn, "select reason from dead_letters where entry_id in ('0-1', '0-2') order by entry_id")
	if diff := cmp.Diff([]string{"broken\uFFFD \uFFFD", cut}, reasons); diff != "" {
		t.Error(diff)
	}
}
