package integration_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const (
	openStream = "blockchain_events"
	sales      = `
name: sold
type: counter
calculation_logic: {stream: {event_type: sale, value: event.price}}
chains: [testchain]
bucket_sizes: [hourly, daily]
`
)

// producer appends sales to an open stream, each with another price, as any program would.
type producer struct {
	redis *redis.Client
	n     int
}

// sell appends some, one every while.
func (p *producer) sell(ctx context.Context, t *testing.T, some int, every time.Duration) (last events.ID) {
	t.Helper()
	for range some {
		p.n++
		values := []any{"type", "sale", "chain", "testchain", "timestamp", 1706659200 + 60*p.n, "price", p.n}
		text, err := p.redis.XAdd(ctx, &redis.XAddArgs{Stream: openStream, Values: values}).Result()
		if err != nil {
			t.Errorf("append: %v", err)
			return last
		}
		if last, err = events.ParseID(text); err != nil {
			t.Error(err)
		}
		time.Sleep(every)
	}
	return last
}

// openSystem is a system with an archive, over an open stream.
type openSystem struct {
	*archived
	producer
}

// newOpenSystem makes one whose archive keeps so many of the newest entries. Nothing of it runs yet.
func newOpenSystem(t *testing.T, keep string) *openSystem {
	t.Helper()
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	store := pipeline.Store(t, s.databaseURL)
	pipeline.Apply(t, store, "sales.yaml", []byte(sales))
	if err := store.RegisterStream(t.Context(), postgres.Stream{Name: openStream, Mode: postgres.ModeOpen}); err != nil {
		t.Fatal(err)
	}
	if err := s.redis.SAdd(t.Context(), "chainmetrics:streams", openStream).Err(); err != nil {
		t.Fatal(err)
	}
	return &openSystem{archived: newArchived(t, s, keep), producer: producer{redis: s.redis}}
}

func startOpenSystem(t *testing.T) *openSystem {
	t.Helper()
	o := newOpenSystem(t, "10000")
	o.startAll(t)
	return o
}

func (o *openSystem) stands(t *testing.T, function string) events.ID {
	t.Helper()
	return pipeline.Watermark(t, o.database, function, openStream)
}

// watch sees that the counter never stands beyond the archive, until it is stopped.
func (o *openSystem) watch(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		const query = `select coalesce(max(entry_id) filter (where function = 'archive'), '0-0'),
			coalesce(max(entry_id) filter (where function = 'counter'), '0-0') from stream_watermarks where stream = $1`
		for ctx.Err() == nil {
			var archive, counter events.ID
			var texts [2]string
			if err := o.database.QueryRow(ctx, query, openStream).Scan(&texts[0], &texts[1]); err != nil {
				continue
			}
			for i, id := range []*events.ID{&archive, &counter} {
				*id, _ = events.ParseID(texts[i])
			}
			if counter.Compare(archive) > 0 {
				t.Errorf("the counter stands at %s, the archive at %s", counter, archive)
				return
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// TestOpenStreamIsHealed has Redis lose parts of an open stream again and again while a producer goes on. Nobody does anything.
func TestOpenStreamIsHealed(t *testing.T) {
	t.Parallel()
	o := startOpenSystem(t)
	ctx := t.Context()
	o.await(t, openStream, o.sell(ctx, t, 100, 0))
	stop := o.watch(t)
	defer stop()
	var delays []time.Duration
	for range 20 {
		begin := time.Now()
		last := o.sell(ctx, t, 1, 0)
		for o.stands(t, "counter").Compare(last) < 0 {
			time.Sleep(time.Millisecond)
		}
		delays = append(delays, time.Since(begin))
	}
	slices.Sort(delays)
	t.Logf("from XADD to the bucket: median %s, at most %s", delays[10], delays[19])

	if err := o.archive.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	last := o.sell(ctx, t, 10, 0)
	time.Sleep(time.Second) // in which the counter gives up waiting, and is given them again
	if err := o.archive.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	o.await(t, openStream, last)

	damages := []func(older string) error{
		func(older string) error { return o.system.redis.RestoreReplace(ctx, openStream, 0, older).Err() },
		func(string) error { return o.system.redis.Del(ctx, openStream).Err() },
		func(string) error { return o.system.redis.XTrimMaxLen(ctx, openStream, 0).Err() },
		func(older string) error { return o.system.redis.RestoreReplace(ctx, openStream, 0, older).Err() },
	}
	for n, damage := range damages {
		older, err := o.system.redis.Dump(ctx, openStream).Result()
		if err != nil {
			t.Fatal(err)
		}
		o.await(t, openStream, o.sell(ctx, t, 50, 0))
		var selling sync.WaitGroup
		if n%2 == 1 { // producers are idle when the others happen
			selling.Go(func() { o.sell(ctx, t, 200, time.Millisecond) })
			time.Sleep(50 * time.Millisecond)
		}
		if err := damage(older); err != nil {
			t.Fatal(err)
		}
		selling.Wait()
		o.await(t, openStream, o.stands(t, "archive")) // which has lost its place
		o.await(t, openStream, o.sell(ctx, t, 20, 0))
	}
	stop()
	carryOut(t, o.database, map[string]string{"counter": o.counterURL}, "counter")
	o.expectSold(t)
}

// expectSold sees that everything is counted that is archived, once, that this is all that the stream has besides what was lost,
// and what is shown of the losses.
func (o *openSystem) expectSold(t *testing.T) {
	t.Helper()
	for query, want := range map[string]string{
		`select count(distinct fields ->> 'price') = count(*) from chain_events where event_type = 'sale'`: "true",
		`select (select sum((fields ->> 'price')::bigint) from chain_events where event_type = 'sale')
			= (select sum(value) from metric_buckets where metric = 'sold' and bucket_size = 'daily')`: "true",
		`select (select sum(value) from metric_buckets where metric = 'sold' and bucket_size = 'hourly')
			= (select sum(value) from metric_buckets where metric = 'sold' and bucket_size = 'daily')`: "true",
		`select count(*) > 400 from chain_events`:                                         "true",
		`select count(*) from pending_ranges`:                                             "0",
		`select string_agg(distinct function || ' ' || healed, ', ') from stream_holes`:   "archive true, counter true",
		`select count(*) from runs where state <> 'succeeded'`:                            "0",
		`select count(*) from runs where changes > 0 and reason not in ('due', 'passed')`: "0",
		`select count(*) > 0 from metric_buckets where metric = 'sold' and final`:         "true",
	} {
		var got string
		if err := o.database.QueryRow(t.Context(), "select ("+query+")::text").Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", query, got, err, want)
		}
	}
	entries, err := o.system.redis.XRange(t.Context(), openStream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		var n int
		const query = "select count(*) from chain_events where fields ->> 'price' = $1"
		price, isSale := entry.Values["price"]
		if err := o.database.QueryRow(t.Context(), query, price).Scan(&n); isSale && (err != nil || n != 1) {
			t.Errorf("entry %s is archived %d times, %v", entry.ID, n, err)
		}
	}
	if now := o.status(t); !now.OK || len(now.Holes) == 0 || !strings.HasPrefix(now.Holes[0].Reason, "healed: ") {
		t.Errorf("status %+v, want nothing to do, and losses that were healed", now)
	}
	if shown, err := o.command(t, "coverage", openStream); err != nil || !strings.Contains(shown, "entries were lost") {
		t.Errorf("coverage shows, %v:\n%s", err, shown)
	}
}
