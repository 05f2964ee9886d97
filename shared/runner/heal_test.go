package runner_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const (
	openStream = "blockchain_events"
	weights    = `
name: weight
type: counter
calculation_logic: {stream: {event_type: sale, value: event.price}}
chains: [testchain]
bucket_sizes: [hourly, daily]
`
	weighed = `select string_agg(distinct sum::text, ' ') from (
		select sum(value) from metric_buckets where metric = 'weight' group by bucket_size) s`
)

// openWorld is a function and the archive over an open stream. Each of its events has another bit as its price, so that the sum
// tells which are counted, and how often.
type openWorld struct {
	*world
	client *redisstream.Client
	redis  *redis.Client
	older  string // the stream with four entries
}

// at is the id of an event that happened n times five hours after genesis.
func at(n int) events.ID {
	return events.ID{Major: uint64(genesis.Add(time.Duration(n) * 5 * time.Hour).UnixMilli())}
}

// newOpenWorld makes a stream with events 1 to 10, the first ones of which the archive and the counter have applied.
func newOpenWorld(t *testing.T, archived, counted int) *openWorld {
	t.Helper()
	address := harness.Redis(t)
	client, err := redisstream.Open(t.Context(), redisstream.Config{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	o := &openWorld{world: newWorld(t), client: client, redis: pipeline.Redis(t, address)}
	pipeline.Apply(t, o.store, "weight.yaml", []byte(weights))
	if err := o.store.RegisterStream(t.Context(), postgres.Stream{Name: openStream, Mode: postgres.ModeOpen}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{archive.Name, "counter"} { // as their sources ask
		if _, err := o.store.Watermark(t.Context(), name, openStream); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= 10; n++ {
		o.add(t, at(n).String(), n)
		if n == 4 {
			if o.older, err = o.redis.Dump(t.Context(), openStream).Result(); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.deliver(t, archive.Name, archived)
	o.deliver(t, "counter", counted)
	o.compute(t) // so that windows are final that what is healed concerns
	return o
}

// add appends event n.
func (o *openWorld) add(t *testing.T, id string, n int) {
	t.Helper()
	happened := genesis.Add(time.Duration(n) * 5 * time.Hour)
	if appended, err := events.ParseID(id); err == nil && happened.Sub(time.UnixMilli(int64(appended.Major))) > 0 {
		happened = time.UnixMilli(int64(appended.Major)).Add(time.Minute)
	}
	values := []any{"type", "sale", "chain", "testchain", "timestamp", happened.Unix(), "price", 1 << n}
	if err := o.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: openStream, ID: id, Values: values}).Err(); err != nil {
		t.Fatal(err)
	}
}

// deliver does what a function's source does, until nothing is left, nothing can be delivered, or some entries are applied.
func (o *openWorld) deliver(t *testing.T, name string, most int) {
	t.Helper()
	apply := o.function.Apply
	if name == archive.Name {
		apply = o.archive.Apply
	}
	for most > 0 {
		mark, err := o.store.Watermark(t.Context(), name, openStream)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := o.client.Read(t.Context(), openStream, mark, redisstream.Limit{Count: min(3, most), Bytes: 1 << 20})
		if _, isLoss := errors.AsType[*redisstream.LossError](err); isLoss || len(batch) == 0 && err == nil {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_, applied, err := apply(t.Context(), openStream, batch)
		if err != nil {
			t.Fatal(err)
		}
		if applied == 0 {
			return
		}
		most -= applied
	}
}

// goOn lets everybody work until there is nothing to do.
func (o *openWorld) goOn(t *testing.T) {
	t.Helper()
	for range 2 {
		if err := o.maintain(t, o.store); err != nil {
			t.Fatal(err)
		}
		o.deliver(t, archive.Name, 100)
		o.deliver(t, "counter", 100)
		o.compute(t)
	}
}

// compute carries out what can be.
func (o *openWorld) compute(t *testing.T) {
	t.Helper()
	for range 2 {
		o.tick(t)
		o.execute(t, "update runs set not_before = now() where state = 'queued'")
	}
}

// maintain sends the archive a tick.
func (o *openWorld) maintain(t *testing.T, store interface {
	archive.Store
	archive.Readers
	archive.Healer
},
) error {
	t.Helper()
	trimmer := archive.NewTrimmer(archive.Config{Keep: 100}, store, o.client)
	return trimmer.Tick(t.Context(), events.Tick{Function: archive.Name}, genesis)
}

// step is something that is done to a stream, or that happens then.
type step func(t *testing.T, o *openWorld)

func rollBack(t *testing.T, o *openWorld) {
	t.Helper()
	if err := o.redis.RestoreReplace(t.Context(), openStream, 0, o.older).Err(); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, o *openWorld) {
	t.Helper()
	if err := o.redis.Del(t.Context(), openStream).Err(); err != nil {
		t.Fatal(err)
	}
}

func take(n int) step {
	return func(t *testing.T, o *openWorld) {
		t.Helper()
		if err := o.redis.XDel(t.Context(), openStream, at(n).String()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func trimTo(n int) step {
	return func(t *testing.T, o *openWorld) {
		t.Helper()
		if err := o.redis.XTrimMinID(t.Context(), openStream, at(n).String()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func add(id string, n int) step {
	return func(t *testing.T, o *openWorld) {
		t.Helper()
		o.add(t, id, n)
	}
}

// count has the counter apply some entries, as far as it may.
func count(most int) step {
	return func(t *testing.T, o *openWorld) {
		t.Helper()
		o.deliver(t, "counter", most)
	}
}

// bits gives the sum of the prices of events.
func bits(first, last int, more ...int) (sum int) {
	for n := first; n <= last; n++ {
		sum += 1 << n
	}
	for _, n := range more {
		sum += 1 << n
	}
	return sum
}

const (
	holesOf    = "select string_agg(function || ' ' || healed, ', ' order by function, after_id) from stream_holes"
	bothHealed = "archive true, counter true"
)

// TestHealing damages an open stream, lets producers go on, and nobody do anything. In the end everything is counted that was
// archived before or is in the stream, once.
func TestHealing(t *testing.T) {
	t.Parallel()
	later := add(at(20).String(), 20)
	tests := map[string]struct {
		archived, counted int
		damage            []step
		want              int    // of what was there before
		holes             string // empty: nothing is recorded
	}{
		"deleted":                                        {10, 10, []step{remove}, bits(1, 10), bothHealed},
		"deleted, a function away":                       {10, 3, []step{remove}, bits(1, 10), bothHealed},
		"deleted before a function came":                 {10, 0, []step{remove}, bits(1, 10), bothHealed},
		"deleted, and begun anew before a function came": {10, 0, []step{remove, later}, bits(1, 10, 20), bothHealed},
		"rolled back":                                    {10, 10, []step{rollBack}, bits(1, 10), bothHealed},
		"rolled back, and went on":                       {10, 3, []step{rollBack, later, count(100)}, bits(1, 10, 20), bothHealed},
		"rolled back, by a clock that is behind": {
			10, 3, []step{rollBack, add(at(6).Next().String(), 18), add(at(8).String(), 19)}, bits(1, 10, 18, 19), bothHealed,
		},
		"rolled back, by a clock that is behind, all counted": {
			10, 10, []step{rollBack, add(at(6).Next().String(), 18)}, bits(1, 10, 18), bothHealed,
		},
		"rolled back, and such an entry was counted": { // after 4, in the place of 5 to 10
			10, 3, []step{rollBack, add(at(6).Next().String(), 18), count(2), add(at(8).String(), 19)}, bits(1, 10, 18, 19), bothHealed,
		},
		"rolled back, while the archive is behind": {3, 3, []step{rollBack, add("*", 20)}, bits(1, 4, 20), ""},
		"an entry deleted that nobody has":         {7, 7, []step{take(9)}, bits(1, 8, 10), bothHealed},
		"the last one deleted":                     {7, 7, []step{take(10)}, bits(1, 9), bothHealed},
		"an entry deleted that is archived":        {10, 3, []step{take(7)}, bits(1, 10), ""},
		"the watermark's entry deleted":            {7, 7, []step{take(7)}, bits(1, 10), bothHealed},
		"trimmed before the archive came":          {0, 0, []step{trimTo(5)}, bits(5, 10), bothHealed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOpenWorld(t, tt.archived, tt.counted)
			for _, step := range tt.damage {
				step(t, o)
			}
			o.goOn(t)
			o.expect(t, weighed, fmt.Sprint(tt.want))
			o.expect(t, holesOf, tt.holes)
			o.add(t, "*", 21)
			o.goOn(t)
			o.expect(t, weighed, fmt.Sprint(tt.want+bits(21, 21)))
			o.expect(t, "select count(distinct entry_id) || ' ' || count(*) from stream_watermarks where stream = '"+openStream+"'", "1 2")
			o.expect(t, "select count(*) from dead_letters", "0")
			o.expect(t, "select count(*) from pending_ranges", "0")
			o.expect(t, "select count(*) from runs where state <> 'succeeded'", "0")
			if coverage, err := o.store.Coverage(t.Context(), openStream); err != nil || tt.holes != "" && len(coverage[0].Holes) == 0 {
				t.Errorf("coverage %+v, %v: the loss is not shown", coverage, err)
			}
			// What the archive has makes the same buckets.
			o.execute(t, "update windows set final = false")
			m, err := o.store.Metric(t.Context(), "weight")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := o.store.RequestRuns(t.Context(), m, m.Definition.BucketSizes[1], genesis, genesis.AddDate(0, 0, 10)); err != nil {
				t.Fatal(err)
			}
			o.compute(t)
			o.expect(t, weighed, fmt.Sprint(tt.want+bits(21, 21)))
			o.expect(t, "select sum(changes) from runs where reason = 'backfill'", "0")
		})
	}
}

// TestHealingOfWhatTheArchiveCannotGive: a function that counts what the archive leaves out goes on behind a loss, which is recorded.
func TestHealingOfWhatTheArchiveCannotGive(t *testing.T) {
	t.Parallel()
	o := newOpenWorld(t, 10, 3)
	o.execute(t, "update stream_types set left_out = 1")
	rollBack(t, o)
	for range 3 {
		if err := o.maintain(t, o.store); err != nil {
			t.Fatal(err)
		}
		o.deliver(t, archive.Name, 100)
		o.deliver(t, "counter", 100)
		o.add(t, "*", 20)
	}
	o.expect(t, weighed, fmt.Sprint(bits(1, 4)+2*bits(20, 20)))
	o.expect(t, "select count(*) from dead_letters", "0")
	o.expect(t, "select string_agg(function || ' ' || healed || ' ' || after_id, ', ' order by function, after_id) from stream_holes",
		fmt.Sprintf("archive true %s, counter true %s, counter true %s", at(10), at(4), at(10)))
}

// TestAFunctionThatStaysWhereNothingIs goes on behind its own place too, which the stream has lost, or has never had.
func TestAFunctionThatStaysWhereNothingIs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ counted, want int }{{7, bits(1, 7, 18, 20)}, {0, bits(1, 4, 18, 20)}} {
		o := newOpenWorld(t, 10, tt.counted)
		o.execute(t, "update stream_types set left_out = 1")
		rollBack(t, o)
		o.add(t, at(8).Next().String(), 18)
		if err := o.maintain(t, o.store); err != nil {
			t.Fatal(err)
		}
		o.add(t, "*", 20)
		o.deliver(t, archive.Name, 100)
		o.deliver(t, "counter", 100)
		o.expect(t, weighed, fmt.Sprint(tt.want))
		o.expect(t, "select count(*) from dead_letters", "0")
		o.expect(t, "select count(distinct entry_id) || ' ' || count(*) from stream_watermarks where stream = '"+openStream+"'", "1 2")
	}
}

// TestWhatAFunctionHasSkipped: one that has counted an entry in the place of those that were lost passes over these.
func TestWhatAFunctionHasSkipped(t *testing.T) {
	t.Parallel()
	o := newOpenWorld(t, 10, 3)
	rollBack(t, o)
	o.add(t, at(6).Next().String(), 18)
	o.deliver(t, "counter", 2) // 4, and this one
	if err := o.maintain(t, o.store); err != nil {
		t.Fatal(err)
	}
	o.expect(t, "select after_id || ' ' || until_id from pending_ranges", fmt.Sprintf("%s %s", at(4), at(10)))
}

// TestAnIdThatIsTaken by another entry of the archive: what the stream has in its place becomes a dead letter.
func TestAnIdThatIsTaken(t *testing.T) {
	t.Parallel()
	o := newOpenWorld(t, 10, 3)
	rollBack(t, o)
	values := []any{"type", "sale", "chain", "testchain", "timestamp", at(8).Major / 1000, "price", 1}
	if err := o.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: openStream, ID: at(8).String(), Values: values}).Err(); err != nil {
		t.Fatal(err)
	}
	o.add(t, at(9).Next().String(), 18)
	o.goOn(t)
	o.expect(t, weighed, fmt.Sprint(bits(1, 10, 18)))
	o.expect(t, holesOf, bothHealed)
	o.expect(t, "select string_agg(entry_id || ': ' || reason, ', ') from dead_letters",
		at(8).String()+": the archive has another entry of this id and time, which the stream has lost")
}

// TestAFunctionAheadOfTheArchive has applied what the archive will never have: that is left to a person.
func TestAFunctionAheadOfTheArchive(t *testing.T) {
	t.Parallel()
	o := newOpenWorld(t, 7, 7)
	o.execute(t, fmt.Sprintf("update stream_watermarks set entry_id = '%s' where function = 'counter'", at(9)))
	for _, n := range []int{6, 7, 8} {
		take(n)(t, o)
	}
	o.goOn(t)
	o.expect(t, holesOf, "")
	o.expect(t, "select string_agg(entry_id, ' ' order by function) from stream_watermarks where stream = '"+openStream+"'",
		fmt.Sprintf("%s %s", at(7), at(9)))
}

// TestADetachedFunctionAheadOfTheArchive keeps nobody from going on, and its place.
func TestADetachedFunctionAheadOfTheArchive(t *testing.T) {
	t.Parallel()
	o := newOpenWorld(t, 10, 10)
	o.execute(t, fmt.Sprintf(`insert into stream_watermarks (function, stream, entry_id, content_hash, detached_at)
		values ('gauge', '%s', '%s', 'x', now())`, openStream, at(12)))
	rollBack(t, o)
	o.goOn(t)
	o.add(t, "*", 20)
	o.goOn(t)
	o.expect(t, weighed, fmt.Sprint(bits(1, 10, 20)))
	o.expect(t, holesOf, bothHealed)
	o.expect(t, "select entry_id from stream_watermarks where function = 'gauge'", at(12).String())
}

// TestAMarkerOfAProducer is taken for a loss, behind which everybody goes on.
func TestAMarkerOfAProducer(t *testing.T) {
	t.Parallel()
	o := newOpenWorld(t, 10, 10)
	o.add(t, at(11).String(), 11)
	marker := []string{events.FieldKind, "marker"}
	if err := o.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: openStream, ID: at(12).String(), Values: marker}).Err(); err != nil {
		t.Fatal(err)
	}
	o.add(t, at(13).String(), 13)
	o.goOn(t)
	o.expect(t, weighed, fmt.Sprint(bits(1, 11, 13)))
	o.expect(t, "select string_agg(function || ' ' || healed || ' ' || after_id || ' ' || next_id, ', ' order by function) from stream_holes",
		fmt.Sprintf("archive true %[1]s %[2]s, counter true %[1]s %[2]s", at(11), at(12)))
	o.expect(t, "select count(*) from dead_letters", "0")
}

// interrupted is a store of a process that dies before it can store what was found.
type interrupted struct {
	*postgres.Store
	meanwhile func()
}

var errKilled = errors.New("killed")

func (s *interrupted) Heal(
	context.Context, archive.Request, archive.Healing, func(archive.Current) (archive.Effects, error),
) (bool, error) {
	s.meanwhile()
	return false, errKilled
}

// TestHealingIsTakenUpAgain where its process was killed between Redis and the store, while sources and producers go on.
func TestHealingIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	for _, appended := range []bool{false, true} {
		o := newOpenWorld(t, 10, 3)
		rollBack(t, o)
		err := o.maintain(t, &interrupted{o.store, func() {
			if appended {
				o.add(t, "*", 20)
			}
			o.deliver(t, archive.Name, 100)
			o.deliver(t, "counter", 100)
		}})
		if !errors.Is(err, errKilled) {
			t.Fatalf("got %v", err)
		}
		want := bits(1, 10)
		if appended {
			want += bits(20, 20)
		}
		o.goOn(t)
		o.expect(t, weighed, fmt.Sprint(want))
		o.expect(t, holesOf, bothHealed)
		o.expect(t, "select count(*) from dead_letters", "0")
	}
}

// TestTwoHealers at once do what one does.
func TestTwoHealers(t *testing.T) {
	t.Parallel()
	for _, next := range []string{"", at(20).String()} {
		o := newOpenWorld(t, 10, 3)
		rollBack(t, o)
		want := bits(1, 10)
		if next != "" {
			o.add(t, at(6).Next().String(), 18)
			o.add(t, next, 20)
			want += bits(18, 18, 20)
		}
		var healing sync.WaitGroup
		for range 2 {
			healing.Go(func() { _ = o.maintain(t, o.store) }) // the second one may fail
		}
		healing.Wait()
		o.goOn(t)
		o.expect(t, weighed, fmt.Sprint(want))
		o.expect(t, holesOf, bothHealed)
	}
}
