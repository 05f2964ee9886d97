package archive_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// reading sets the watermark of a function, which need not have been there.
func reading(function, entry string) string {
	return fmt.Sprintf(`insert into stream_watermarks (function, stream, entry_id, content_hash) values ('%s', '%s', '%s', 'h')
		on conflict (function, stream) do update set entry_id = excluded.entry_id`, function, stream, entry)
}

// counting registers a metric of the function counter that counts events of a type.
func counting(eventType string) string {
	return fmt.Sprintf(`insert into metric_registry (name, type, definition) values ('m', 'counter',
		'{"chains": ["testchain"], "calculation_logic": {"stream": {"event_type": "%s"}}}')`, eventType)
}

func leftOut(eventType string) string {
	return fmt.Sprintf("update stream_types set left_out = 1 where event_type = '%s'", eventType)
}

const hole = `insert into stream_holes (function, stream, after_id, next_id, removed, first_id, reason)
	values ('%s', '` + stream + `', '%s', '%s', 1, '0-1', 'lost')`

// TestTrim has the archive at the first block of a fork, 1-38, whose 43 entries before it are 0-1 to 0-41 and 1-0. What it
// trims is the stream's beginning then, and where the function counter was moved to.
func TestTrim(t *testing.T) {
	t.Parallel()
	all := history()[:43]
	tests := map[string]struct {
		keep, maxLag int64
		before       []string // statements
		first        string   // entry of the stream after the tick
		counter      string   // watermark of the function after the tick, with what it has passed over
	}{
		"the archive alone":                       {first: "1-38"},
		"a function that is behind":               {before: []string{reading("counter", "0-7")}, first: "0-7", counter: "0-7"},
		"the lowest of several":                   {before: []string{reading("counter", "1-0"), reading("gauge", "0-41")}, first: "0-41", counter: "1-0"},
		"at the revert":                           {before: []string{reading("counter", "1-0")}, first: "1-0", counter: "1-0"},
		"ahead of the archive":                    {before: []string{reading("counter", "1-45")}, first: "1-38", counter: "1-45"},
		"one that has begun nothing":              {before: []string{reading("counter", "0-0")}, first: "0-1", counter: "0-0"},
		"what is kept in any case":                {keep: 10, first: "0-34"},
		"a stream that is not registered":         {before: []string{"delete from streams"}, first: "0-1"},
		"without an archive":                      {before: []string{"delete from stream_watermarks", reading("counter", "1-0")}, first: "0-1", counter: "1-0"},
		"one that is detached":                    {before: []string{reading("counter", "0-7"), "update stream_watermarks set detached_at = now() where function = 'counter'"}, first: "1-38", counter: "0-7"},
		"an accepted loss ahead":                  {before: []string{reading("counter", "0-7"), fmt.Sprintf(hole, "counter", "0-7", "0-9")}, first: "0-1", counter: "0-7"},
		"an accepted loss behind":                 {before: []string{reading("counter", "0-7"), fmt.Sprintf(hole, "counter", "0-5", "0-7")}, first: "0-7", counter: "0-7"},
		"as far behind as it may be":              {maxLag: 36, before: []string{reading("counter", "0-7")}, first: "0-7", counter: "0-7"},
		"further behind than it may be":           {maxLag: 35, before: []string{reading("counter", "0-7")}, first: "1-38", counter: "1-38 after 0-7"},
		"new, and too far behind":                 {maxLag: 42, before: []string{reading("counter", "0-0")}, first: "1-38", counter: "1-38 after 0-0"},
		"too far behind a loss of the archive":    {maxLag: 5, before: []string{reading("counter", "0-7"), fmt.Sprintf(hole, "archive", "0-1", "0-3")}, first: "0-7", counter: "0-7"},
		"too far behind what the archive gave up": {maxLag: 5, before: []string{reading("counter", "0-7"), "update dead_letters set reason = 'x; quarantined: archive fails'"}, first: "0-7", counter: "0-7"},
		"what it counts was left out":             {maxLag: 5, before: []string{reading("counter", "0-7"), counting("transaction"), leftOut("transaction")}, first: "0-7", counter: "0-7"},
		"blocks were left out":                    {maxLag: 5, before: []string{reading("counter", "0-7"), counting("transaction"), leftOut("block")}, first: "0-7", counter: "0-7"},
		"what it does not count was left out":     {maxLag: 5, before: []string{reading("counter", "0-7"), counting("block"), leftOut("transaction")}, first: "1-38", counter: "1-38 after 0-7"},
	}
	b := newBuffered(t, all)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b.restore(t, all)
			for _, statement := range tt.before {
				b.execute(t, statement)
			}
			for range 2 { // the second time there is nothing to do
				b.expect(t, archive.Config{Keep: tt.keep, MaxLag: tt.maxLag}, tt.first, tt.counter)
			}
		})
	}
}

// TestTrimmingGoesOn where months cannot be dropped, since the archive has another stream that is not registered.
func TestTrimmingGoesOn(t *testing.T) {
	t.Parallel()
	w := newBuffered(t, history()[:30])
	w.execute(t, "insert into stream_watermarks (function, stream, entry_id) values ('archive', 'strange', '0-1')")
	trimmer := archive.NewTrimmer(archive.Config{Retention: 62 * 24 * time.Hour}, w.store, w.client)
	if err := trimmer.Tick(t.Context(), events.Tick{Function: archive.Name}, genesis); err == nil || !strings.Contains(err.Error(), "strange") {
		t.Errorf("got %v", err)
	}
	info, err := w.redis.XInfoStream(t.Context(), stream).Result()
	if err != nil || info.FirstEntry.ID != "0-30" {
		t.Errorf("the stream begins with %s, want 0-30: %v", info.FirstEntry.ID, err)
	}
}

// TestANewFunctionAfterTrimming is moved to the archive's watermark, however far that may be.
func TestANewFunctionAfterTrimming(t *testing.T) {
	t.Parallel()
	w := newBuffered(t, history()[:30])
	w.expect(t, archive.Config{}, "0-30", "")
	if _, err := w.store.Watermark(t.Context(), "counter", stream); err != nil { // as its source asks for it
		t.Fatal(err)
	}
	w.expect(t, archive.Config{}, "0-30", "0-30 after 0-0")
	// One whose place has gone while it was detached is moved once it is attached again.
	if err := w.store.Detach(t.Context(), "counter"); err != nil {
		t.Fatal(err)
	}
	w.add(t, history()[30:35])
	w.expect(t, archive.Config{}, "0-35", "0-30 after 0-0")
	if err := w.store.Attach(t.Context(), "counter"); err != nil {
		t.Fatal(err)
	}
	w.expect(t, archive.Config{}, "0-35", "0-35 after 0-0, 0-30")
}

// buffered is an archive with the buffer of its stream.
type buffered struct {
	store    *postgres.Store
	database *pgxpool.Pool
	client   *redisstream.Client
	redis    *redis.Client
}

func newBuffered(t *testing.T, entries []events.Delivery) *buffered {
	t.Helper()
	url, address := harness.Database(t), harness.Redis(t)
	client, err := redisstream.Open(t.Context(), redisstream.Config{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	b := &buffered{pipeline.Store(t, url), pipeline.Database(t, url), client, pipeline.Redis(t, address)}
	if err := b.store.RegisterStream(t.Context(), postgres.Stream{Name: stream, Mode: postgres.ModeFeed, Chain: "testchain"}); err != nil {
		t.Fatal(err)
	}
	b.add(t, entries)
	return b
}

// restore makes everything as it was when these entries had been archived.
func (b *buffered) restore(t *testing.T, entries []events.Delivery) {
	t.Helper()
	last := entries[len(entries)-1].ID
	for _, statement := range []string{
		"truncate stream_watermarks, stream_holes, pending_ranges, metric_registry cascade",
		"update dead_letters set reason = 'no chain'", "update stream_types set left_out = 0",
		"insert into streams (name, mode, chain) values ('" + stream + "', 'feed', 'testchain') on conflict do nothing",
		reading(archive.Name, last.String()),
	} {
		b.execute(t, statement)
	}
	if err := b.redis.Del(t.Context(), stream).Err(); err != nil {
		t.Fatal(err)
	}
	b.append(t, entries)
}

func (b *buffered) execute(t *testing.T, statement string) {
	t.Helper()
	if _, err := b.database.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (b *buffered) append(t *testing.T, entries []events.Delivery) {
	t.Helper()
	appending := b.redis.Pipeline()
	for _, d := range entries {
		appending.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: d.ID.String(), Values: []string{"some", "content"}})
	}
	if _, err := appending.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// add appends entries to the stream, and archives them.
func (b *buffered) add(t *testing.T, entries []events.Delivery) {
	t.Helper()
	b.append(t, entries)
	if _, _, err := archive.NewFunction(archive.Config{}, b.store).Apply(t.Context(), stream, entries); err != nil {
		t.Fatal(err)
	}
}

// expect sends a tick, and tells where the stream begins then, where the function counter stands, and what it has passed over.
func (b *buffered) expect(t *testing.T, cfg archive.Config, first, counter string) {
	t.Helper()
	trimmer := archive.NewTrimmer(cfg, b.store, b.client)
	if err := trimmer.Tick(t.Context(), events.Tick{Function: archive.Name}, genesis); err != nil {
		t.Fatal(err)
	}
	info, err := b.redis.XInfoStream(t.Context(), stream).Result()
	if err != nil {
		t.Fatal(err)
	}
	if info.FirstEntry.ID != first {
		t.Errorf("the stream begins with %s, want %s", info.FirstEntry.ID, first)
	}
	got := text(t, b.database, `select coalesce((
		select concat_ws(' after ', w.entry_id, string_agg(p.after_id, ', ' order by p.recorded_at))
		from stream_watermarks w left join pending_ranges p using (function, stream)
		where function = 'counter' group by w.entry_id), '')`)
	if got != counter {
		t.Errorf("the counter stands at %q, want %q", got, counter)
	}
}
