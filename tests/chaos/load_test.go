package chaos_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/oracle"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// programs are the binaries of a load.
type programs struct{ function, source, feed string }

// kind is the metric type of the function, which its binary is named after.
func (p programs) kind() string { return filepath.Base(p.function) }

// load is a chain on its way into buckets, through everything that can go wrong.
type load struct {
	programs
	seed    uint64
	file    string // of the chain
	blocks  uint64
	entries int     // of a batch of the source
	weights weights // of what becomes of a batch
	delay   time.Duration
	breaks  int           // of 1000 messages to Postgres
	drag    time.Duration // the longest delay of such a message
	kills   int
	limit   time.Duration // for the whole load
	losses  bool          // the stream loses entries on the way
	open    bool          // a producer appends blocks as flat events, instead of feeds
}

// mode names the stream's.
func (l load) mode() string {
	if l.open {
		return "open"
	}
	return "feed"
}

// outcome is what a load has led to.
type outcome struct {
	unfinished  error // nil where everything was applied
	differences string
	kills, hits int
	summary     string
}

// run carries a load out. It fails the test only where that is not possible; what a mistake of the programs leads to is
// in its outcome.
func (l load) run(t *testing.T, expected map[oracle.Key]oracle.Value) outcome {
	t.Helper()
	database, redisURL := harness.Database(t), harness.Redis(t)
	store := pipeline.Store(t, database)
	definitions := pipeline.ApplyExamples(t, store)
	pool, stream := pipeline.Database(t, database), pipeline.Redis(t, redisURL)

	relay := startRelay(t, newDice(l.seed+1), database, l.breaks, l.drag)
	counters, urls := make([]victim, 2), make([]string, 2)
	for i := range counters {
		name := fmt.Sprintf("function %d", i+1)
		counters[i].Program, urls[i] = pipeline.Function(t, name, l.function, relay.url(t, database, name), nil)
		counters[i].weight, counters[i].function = 3, true
	}
	proxy := startProxy(t, newDice(l.seed+2), l.weights, l.delay, urls...)
	victims, feeds := counters, []*pipeline.Program{}
	for i := range 2 {
		source, _ := pipeline.Source(t, fmt.Sprintf("source %d", i+1), l.source, redisURL, proxy.server.URL,
			map[string]string{
				"FUNCTION": l.kind(), "SOURCE_BATCH_ENTRIES": strconv.Itoa(l.entries), "SOURCE_TAKEOVER": "1s", "SOURCE_RECHECK": "200ms",
			})
		victims = append(victims, victim{Program: source, weight: 2})
		if l.open {
			continue
		}
		feed := pipeline.Feed(t, fmt.Sprintf("feed %d", i+1), l.feed, database, redisURL, l.file,
			map[string]string{"FEED_LIMIT": "600", "FEED_BATCH_ENTRIES": "40", "FEED_INTERVAL": "500ms", "FOLLOW": "true"})
		victims = append(victims, victim{Program: feed, weight: 2})
		feeds = append(feeds, feed)
	}
	position := func(id events.ID) uint64 { return id.Minor }
	var flat *producer
	if l.open {
		flat = newProducer(t, stream, l.file, newDice(l.seed+3))
		flat.register(t.Context(), t, store, pipeline.Stream)
		names := ofBlocksAlone(definitions)
		for _, d := range definitions {
			if names[d.Name] {
				continue
			}
			if _, err := store.DeleteMetric(t.Context(), d.Name); err != nil {
				t.Fatal(err)
			}
		}
		expected, position = only(expected, names), flat.position
	}
	applied := func() uint64 { return position(proxy.watermark()) }
	for _, v := range victims {
		if err := v.Start(); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), l.limit)
	defer cancel()
	dice := newDice(l.seed)
	killer := &killer{
		victims: victims, proxy: proxy, database: pool, dice: dice, pause: 200 * time.Millisecond,
		applied: applied,
		appended: func(ctx context.Context) (uint64, error) {
			id, err := end(ctx, stream)
			return position(id), err
		},
	}
	var beside sync.WaitGroup
	if flat != nil {
		beside.Go(func() { flat.run(ctx, t, pipeline.Stream, applied) })
	}
	beside.Go(func() { killer.run(ctx, t, moments(dice, l.kills, l.blocks)) })
	if l.losses {
		beside.Go(func() { (&vandal{feeds: feeds, proxy: proxy, redis: stream, dice: dice}).run(ctx, t, l.blocks) })
	}
	newcomer := &newcomer{kind: l.kind(), store: store, applied: applied}
	beside.Go(func() { newcomer.run(ctx, t, l.blocks/2) })
	whole := func() bool { return position(pipeline.Watermark(t, pool, l.kind(), pipeline.Stream)) == l.blocks }
	unfinished := await(ctx, whole)
	beside.Wait()
	proxy.close()
	summary := fmt.Sprintf("%s; %d connections to Postgres broken", proxy.summary(), relay.breakages())
	for _, v := range victims {
		if v.Ended() {
			t.Errorf("%s ended by itself", v.Name)
		}
	}
	if unfinished == nil && !whole() {
		unfinished = fmt.Errorf("the watermark went back to %s", pipeline.Watermark(t, pool, l.kind(), pipeline.Stream))
	}
	troubles, err := store.Troubles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	troubles.Notices = postgres.NoticeTrouble{} // nobody sends them here
	if diff := cmp.Diff(postgres.Troubles{}, troubles, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("troubles (-want +got):\n%s", diff)
	}
	differences := newcomer.differences(t, pool, l.blocks, position)
	differences += pipeline.Differences(t, pool, expected)
	return outcome{
		unfinished: unfinished, differences: differences,
		kills: killer.kills, hits: killer.hits, summary: summary,
	}
}

func await(ctx context.Context, condition func() bool) error {
	begin := time.Now()
	for !condition() {
		if !sleep(ctx, 20*time.Millisecond) {
			return fmt.Errorf("not everything was applied after %s", time.Since(begin).Round(time.Second))
		}
	}
	return nil
}

// end gives the id at which the stream ends, 0-0 before there is one.
func end(ctx context.Context, client *redis.Client) (events.ID, error) {
	exists, err := client.Exists(ctx, pipeline.Stream).Result()
	if err != nil || exists == 0 {
		return events.ID{}, err
	}
	info, err := client.XInfoStream(ctx, pipeline.Stream).Result()
	if err != nil {
		return events.ID{}, err
	}
	return events.ParseID(info.LastGeneratedID)
}
