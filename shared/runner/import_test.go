package runner_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const importedMetrics = `
name: gas
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: paid
type: counter
calculation_logic: {stream: {event_type: transfer, value: event.amount * block.gas_used, dimensions: {to: event.to}}}
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: few
type: counter
calculation_logic: {stream: {event_type: transfer, time: event.seen_at, dimensions: {to: event.to}}}
max_dimensions: 9
chains: [testchain]
bucket_sizes: [daily]
---
name: sold
type: counter
calculation_logic: {stream: {event_type: sale, value: event.price}}
chains: [testchain]
bucket_sizes: [daily]
`

// linked is a block of a branch: heights from fork on are of the epoch, those below of epoch 0.
func linked(epoch, fork, height uint64) events.Entry {
	name := func(height uint64) string {
		if height < fork {
			return fmt.Sprintf("h0-%d", height)
		}
		return fmt.Sprintf("h%d-%d", epoch, height)
	}
	at, parent := genesis.Add(time.Duration(height)*30*time.Minute), "0"
	if height > 0 {
		parent = name(height - 1)
	}
	block := events.Block{
		Chain: "testchain", Number: height, Hash: name(height), ParentHash: parent, Time: at,
		Fields: map[string]any{"number": height, "hash": name(height), "timestamp": at.Unix(), "gas_used": gasOf(epoch, height)},
	}
	for n := range 2 {
		block.Events = append(block.Events, map[string]any{
			"type": "transfer", "to": string(rune('a' + n)), "amount": height%7 + 1, "seen_at": at.Unix() + 3600,
		})
	}
	entry, err := events.NewBlockEntry(events.ID{Major: epoch, Minor: height + 1}, block, at)
	if err != nil {
		panic(err)
	}
	return entry
}

func gasOf(epoch, height uint64) uint64 { return 1000*epoch + height }

// expected is what the buckets of blocks have to be: by metric, size, window and receiver.
func expected(epochs map[uint64]uint64) map[string]uint64 {
	all := make(map[string]uint64)
	for height, epoch := range epochs {
		at, gas := genesis.Add(time.Duration(height)*30*time.Minute), gasOf(epoch, height)
		for _, size := range []bucket.Size{bucket.Hourly, bucket.Daily} {
			start := size.Window(at).Start.Format(time.DateTime)
			all[fmt.Sprintf("gas %s %s ", size, start)] += gas
			for _, to := range []string{"a", "b"} {
				all[fmt.Sprintf("paid %s %s %s", size, start, to)] += (height%7 + 1) * gas
			}
		}
		for _, to := range []string{"a", "b"} {
			all[fmt.Sprintf("few daily %s %s", bucket.Daily.Window(at.Add(time.Hour)).Start.Format(time.DateTime), to)]++
		}
	}
	return all
}

// heights are those from one to another, of an epoch.
func heights(epoch, from, to uint64) map[uint64]uint64 {
	all := make(map[uint64]uint64)
	for height := from; height < to; height++ {
		all[height] = epoch
	}
	return all
}

func newImportWorld(t *testing.T) *world {
	t.Helper()
	url := harness.Database(t)
	w := &world{store: pipeline.Store(t, url), database: pipeline.Database(t, url)}
	pipeline.Apply(t, w.store, "test.yaml", []byte(importedMetrics))
	w.function, w.archive = runner.NewFunction(counter.Type{}, w.store), archive.NewFunction(archive.Config{}, w.store)
	if err := w.store.RegisterStream(t.Context(), postgres.Stream{Name: stream, Mode: postgres.ModeFeed, Chain: "testchain"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// feed applies blocks of epoch 0.
func (w *world) feed(t *testing.T, from, to uint64, after events.ID) {
	t.Helper()
	var batch []events.Delivery
	for height := from; height < to; height++ {
		batch = append(batch, events.NewDelivery(stream, linked(0, 0, height), after))
		after = batch[len(batch)-1].ID
	}
	w.apply(t, batch)
}

// same compares all buckets with those of blocks.
func (w *world) same(t *testing.T, epochs map[uint64]uint64) {
	t.Helper()
	rows, err := w.database.Query(t.Context(), `select metric || ' ' || bucket_size || ' ' ||
			to_char(bucket_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' ' || coalesce(dimensions ->> 'to', ''), value::bigint
		from metric_buckets where metric <> 'sold'`)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	var key string
	var value uint64
	if _, err := pgx.ForEachRow(rows, []any{&key, &value}, func() error { got[key] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(expected(epochs), got); diff != "" {
		t.Errorf("buckets differ (-want +got):\n%s", diff)
	}
}

// refuse is what these tests make errors with.
func refuse(format string, arguments ...any) error { return fmt.Errorf(format, arguments...) }

// imports adds blocks of epoch 0 to an import, some at a time.
func imports(ctx context.Context, i *archive.Import, from, to uint64) error {
	for height := from; height < to; height++ {
		if err := i.Add(ctx, linked(0, 0, height), refuse); err != nil {
			return err
		}
		if height%8 == 7 {
			if err := i.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return i.Flush(ctx)
}

func (w *world) loses(t *testing.T, after, next events.ID) {
	t.Helper()
	marks, err := w.store.Marks(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marks {
		hole := watermark.Hole{After: after, Next: next, Removed: int64(next.Minor) - 1, First: next}
		if err := w.store.AcceptHoles(t.Context(), m.Function, stream, m.Mark, []watermark.Hole{hole}, "a disk failed"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestImportFillsAHole that was accepted, while the stream goes on, though it is cut short, and done twice.
func TestImportFillsAHole(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	w.feed(t, 0, 40, events.ID{})
	w.loses(t, events.ID{Minor: 40}, events.ID{Minor: 61})
	w.feed(t, 60, 100, events.ID{Minor: 40})
	w.tick(t)
	w.expect(t, "select string_agg(distinct state, ',') from runs", "skipped")

	cut := &archive.Import{Store: w.store, Stream: stream}
	if err := imports(t.Context(), cut, 30, 50); err != nil {
		t.Fatal(err)
	}
	if want := (archive.ImportCounts{Imported: 10, Known: 10}); cut.Counts != want {
		t.Errorf("the first part: %+v", cut.Counts)
	}
	if filled, err := cut.Close(t.Context()); err != nil || filled != 0 {
		t.Errorf("half of a hole: %d are filled, %v", filled, err)
	}
	const covered = `select string_agg(from_height || '-' || to_height, ', ' order by from_height) from coverage_segments`
	w.expect(t, covered, "0-49, 60-99")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := imports(ended, &archive.Import{Store: w.store, Stream: stream}, 50, 60); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	var going sync.WaitGroup
	going.Go(func() { // the stream goes on
		for height := uint64(100); height < 120; height += 4 {
			w.feed(t, height, height+4, events.ID{Minor: height})
		}
	})
	all := &archive.Import{Store: w.store, Stream: stream}
	if err := imports(t.Context(), all, 20, 60); err != nil {
		t.Fatal(err)
	}
	going.Wait()
	if want := (archive.ImportCounts{Imported: 10, Known: 30}); all.Counts != want {
		t.Errorf("all of it: %+v", all.Counts)
	}
	if filled, err := all.Close(t.Context()); err != nil || filled != 1 {
		t.Errorf("%d are filled, %v", filled, err)
	}
	w.expect(t, covered, "0-119")
	w.tick(t)
	w.same(t, heights(0, 0, 120))
	w.expect(t, "select string_agg(distinct state, ',') from runs where run_id > (select max(run_id) from runs where state = 'skipped')",
		"succeeded")
	w.expect(t, "select min(bucket_start) from metric_buckets where not final and metric = 'gas'", "2024-02-02 00:00:00+00")

	const everything = `select (select count(*) from chain_events) || ' ' || (select count(*) from imported_entries) || ' ' ||
		(select count(*) from runs) || ' ' || (select count(*) from archived_entries)`
	before := w.text(t, everything)
	again := &archive.Import{Store: w.store, Stream: stream}
	if err := imports(t.Context(), again, 0, 130); err != nil {
		t.Fatal(err)
	}
	if filled, err := again.Close(t.Context()); err != nil || filled != 0 {
		t.Errorf("again: %d are filled, %v", filled, err)
	}
	if want := (archive.ImportCounts{Known: 120, Beyond: 10}); again.Counts != want {
		t.Errorf("again: %+v", again.Counts)
	}
	w.expect(t, everything, before)
}

// TestImportedBlocksAreReverted by a reorganisation that goes below the first block of the stream.
func TestImportedBlocksAreReverted(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	w.feed(t, 50, 100, events.ID{})
	i := &archive.Import{Store: w.store, Stream: stream}
	if err := imports(t.Context(), i, 0, 50); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.same(t, heights(0, 0, 100))
	entry, err := events.NewRevertEntry(events.ID{Major: 1}, "testchain", events.Revert{Ancestor: events.ID{Minor: 31}, Number: 30, Hash: "h0-30"}, genesis)
	if err != nil {
		t.Fatal(err)
	}
	fork, last := []events.Delivery{events.NewDelivery(stream, entry, events.ID{Minor: 100})}, entry.ID
	for height := uint64(31); height < 40; height++ { // later windows have nothing then
		fork = append(fork, events.NewDelivery(stream, linked(1, 31, height), last))
		last = fork[len(fork)-1].ID
	}
	w.apply(t, fork)
	w.tick(t)
	branch := heights(0, 0, 31)
	maps.Copy(branch, heights(1, 31, 40))
	w.same(t, branch)
	// What was taken back is of another branch now, and what stays is known.
	again := &archive.Import{Store: w.store, Stream: stream}
	if err := imports(t.Context(), again, 0, 31); err != nil || again.Counts.Known != 31 {
		t.Errorf("%+v, %v", again.Counts, err)
	}
	if err := imports(t.Context(), again, 31, 32); err == nil || err.Error() != "block 31 is h0-31, the archive has h1-31" {
		t.Errorf("a block that was taken back: %v", err)
	}
}

// late is a store that has something happen after a rebuild has read the archive.
type late struct {
	*postgres.Store
	happen func() error
}

func (l *late) Archived(
	ctx context.Context, rebuild aggregate.Rebuild, query aggregate.EventQuery, each func(events.Event, events.ID) error,
) error {
	return errors.Join(l.Store.Archived(ctx, rebuild, query, each), l.happen())
}

// TestImportBesideARebuild that has read the archive before: the run that the import requests computes the window once more.
func TestImportBesideARebuild(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	w.feed(t, 50, 100, events.ID{})
	m, err := w.store.Metric(t.Context(), "gas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Daily, genesis, genesis.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	once := sync.OnceValue(func() error {
		i := &archive.Import{Store: w.store, Stream: stream}
		return imports(t.Context(), i, 40, 48)
	})
	if _, err := runner.Work(t.Context(), counter.Type{}, &late{w.store, once}, []runner.Queue{{Size: bucket.Daily}}, time.Minute, ""); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	all := heights(0, 40, 48) // the last of them are of the next day where a metric takes their time for an hour later
	maps.Copy(all, heights(0, 50, 100))
	w.same(t, all)
}

// TestNoRunBeginsBesideAnImport whose request came to nothing, since that run was queued: it would not see what is imported.
func TestNoRunBeginsBesideAnImport(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	w.feed(t, 50, 100, events.ID{})
	m, err := w.store.Metric(t.Context(), "gas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RequestRuns(t.Context(), m, bucket.Hourly, genesis, genesis.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	// The import waits, after its first request, for a lock that the test has.
	held, err := w.database.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // of no consequence
	for _, statement := range []string{
		`create function wait() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(1); return null; end $$`,
		"create trigger wait after insert on runs execute function wait()",
	} {
		if _, err := w.database.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := held.Exec(t.Context(), "select pg_advisory_xact_lock(1)"); err != nil {
		t.Fatal(err)
	}
	waiting := func() string {
		return w.text(t, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
	}
	var going sync.WaitGroup
	until := func(number string, do func()) { // so many wait, or it is done
		done := make(chan struct{})
		going.Go(func() {
			defer close(done)
			do()
		})
		for waiting() != number {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}
	until("1", func() {
		if err := imports(t.Context(), &archive.Import{Store: w.store, Stream: stream}, 48, 50); err != nil {
			t.Error(err)
		}
	})
	work := func() {
		if _, err := runner.Work(t.Context(), counter.Type{}, w.store, []runner.Queue{{Size: bucket.Hourly}}, time.Minute, ""); err != nil {
			t.Error(err)
		}
	}
	until("2", work)
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	going.Wait()
	work()
	w.expect(t, "select value from metric_buckets where metric = 'gas' and bucket_size = 'hourly' and bucket_start = '2024-02-01Z'", "97")
}

// TestImportRefuses what cannot be, and stores nothing of it.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	never := &archive.Import{Store: w.store, Stream: stream}
	if err := imports(t.Context(), never, 0, 1); !errors.Is(err, archive.ErrNothingArchived) {
		t.Errorf("before the archive: %v", err)
	}
	w.feed(t, 50, 60, events.ID{})
	for name, test := range map[string]struct {
		before string
		entry  events.Entry
		want   string
	}{
		"another block":        {"", linked(1, 50, 55), "block 55 is h1-55, the archive has h0-55"},
		"another branch":       {"", linked(1, 48, 49), "block 49 is h1-49, the archive has a child of h0-49 above it"},
		"below the floor":      {"update streams set archive_floor = '2024-02-01Z'", linked(0, 0, 3), "it is of 2024-01-31T01:30:00Z, the archive is whole from 2024-02-01T00:00:00Z on, and keeps nothing from before"},
		"of another stream":    {"update stream_types set stream = 'x' where event_type = 'transfer'", linked(0, 0, 49), `events "transfer" of chain "testchain" belong to stream x`},
		"what nobody can read": {"", events.Entry{ID: events.ID{Minor: 1}, Fields: []events.Field{{Name: "a", Value: "b"}}}, "no valid chain: "},
	} {
		if test.before != "" {
			if _, err := w.database.Exec(t.Context(), test.before); err != nil {
				t.Fatal(err)
			}
		}
		i := &archive.Import{Store: w.store, Stream: stream}
		err := i.Add(t.Context(), test.entry, refuse)
		if err == nil {
			err = i.Flush(t.Context())
		}
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := w.database.Exec(t.Context(), "update streams set archive_floor = '-infinity'"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.database.Exec(t.Context(), "update stream_types set stream = $1", stream); err != nil {
			t.Fatal(err)
		}
	}
	dry := &archive.Import{Store: w.store, Stream: stream, DryRun: true}
	if err := imports(t.Context(), dry, 40, 50); err != nil || dry.Counts.Imported != 10 {
		t.Errorf("for show: %+v, %v", dry.Counts, err)
	}
	w.expect(t, "select (select count(*) from imported_entries) + (select count(*) from runs)", "0")
	if _, err := w.database.Exec(t.Context(), "update stream_types set left_out = 1 where event_type = 'transfer'"); err != nil {
		t.Fatal(err)
	}
	if err := imports(t.Context(), &archive.Import{Store: w.store, Stream: stream}, 40, 50); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "select string_agg(event_type || ' ' || left_out, ',' order by event_type) from stream_types", "block 0,transfer 21")
	w.expect(t, "select string_agg(distinct event_type, ',') from chain_events where entry_major is null", "block")
}

// sale is the entry of a row of a file.
func sale(id events.ID, price int) events.Entry {
	at := genesis.Add(time.Duration(id.Major) * time.Hour)
	fields := []events.Field{{Name: "price", Value: fmt.Sprint(price)}}
	entry, err := events.NewFlatEntry(id, "sale", "testchain", at, fields, genesis.AddDate(0, 1, 0))
	if err != nil {
		panic(err)
	}
	return entry
}

const sold = "select string_agg(value::text, ' ' order by bucket_start) from metric_buckets where metric = 'sold'"

// TestImportOfRows adds those that the archive does not have, also where several say the same.
func TestImportOfRows(t *testing.T) {
	t.Parallel()
	for mode, beyond := range map[string]int64{postgres.ModeFeed: 1, postgres.ModeOpen: 1} {
		w := newImportWorld(t)
		name := "blockchain_events:testchain:" + mode
		registered := postgres.Stream{Name: name, Mode: mode}
		if mode == postgres.ModeFeed {
			registered.Chain = "testchain"
		}
		if err := w.store.RegisterStream(t.Context(), registered); err != nil {
			t.Fatal(err)
		}
		fed := []events.Entry{sale(events.ID{Major: 1, Minor: 1}, 5), sale(events.ID{Major: 1, Minor: 2}, 5), sale(events.ID{Major: 30, Minor: 1}, 8)}
		var batch []events.Delivery
		var after events.ID
		for _, entry := range fed {
			batch = append(batch, events.NewDelivery(name, entry, after))
			after = entry.ID
		}
		if _, _, err := w.archive.Apply(t.Context(), name, batch); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.function.Apply(t.Context(), name, batch); err != nil {
			t.Fatal(err)
		}
		rows := slices.Clone(fed[:2])
		for minor := uint64(3); minor < 6; minor++ { // two of three say the same
			rows = append(rows, sale(events.ID{Major: 1, Minor: minor}, 5+int(minor)/5))
		}
		rows = append(rows, fed[2], sale(events.ID{Major: 31, Minor: 1}, 1000))
		for n, want := range []archive.ImportCounts{{Imported: 3, Known: 3, Beyond: beyond}, {Known: 6, Beyond: beyond}} {
			i := &archive.Import{Store: w.store, Stream: name}
			for at, entry := range rows {
				if err := i.Add(t.Context(), entry, refuse); err != nil {
					t.Fatal(err)
				}
				if at == 2 { // rows that say the same are in two transactions
					if err := i.Flush(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := i.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i.Counts != want {
				t.Errorf("%s, time %d: %+v", mode, n, i.Counts)
			}
			w.tick(t)
			w.expect(t, sold, "26 8")
		}
		// Then the stream brings what was imported, and something new.
		twice := sale(events.ID{Major: 1, Minor: 4}, 5)
		twice.ID = events.ID{Major: 40, Minor: 1}
		batch = []events.Delivery{events.NewDelivery(name, twice, after), events.NewDelivery(name, sale(events.ID{Major: 41, Minor: 1}, 3), twice.ID)}
		if _, _, err := w.archive.Apply(t.Context(), name, batch); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "select string_agg(bucket_start::date || ' ' || reason, ',') from runs where state = 'queued'", "2024-01-31 imported")
		if _, _, err := w.function.Apply(t.Context(), name, batch); err != nil {
			t.Fatal(err)
		}
		w.expect(t, sold, "31 11")
		w.tick(t)
		w.expect(t, sold, "26 11")
		w.expect(t, "select count(*) || ' ' || count(entry_major) || ' ' || (select count(*) from imported_entries) from chain_events", "7 5 2")
	}
}
