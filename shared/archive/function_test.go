package archive_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestMain(m *testing.M) { harness.Main(m) }

const stream = "blockchain_events:testchain"

// archived is a row of chain_events.
type archived struct {
	Type, Time, Fields, Exact string
	Entry                     string
	Ordinal                   int
	RevertedBy                string
}

// rows reads all events, in stream order.
func rows(t *testing.T, database *pgxpool.Pool) []archived {
	t.Helper()
	const query = `select event_type, to_char(event_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), fields::text,
			coalesce(convert_from(exact_fields, 'UTF8'), ''), entry_major || '-' || entry_minor, ordinal,
			coalesce(reverted_by_major || '-' || reverted_by_minor, '')
		from chain_events order by entry_major, entry_minor, ordinal`
	read, err := database.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(read, pgx.RowToStructByPos[archived])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func text(t *testing.T, database *pgxpool.Pool, query string) string {
	t.Helper()
	var found string
	if err := database.QueryRow(t.Context(), query).Scan(&found); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return found
}

var genesis = time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC)

// block is the entry of a block at a height with two transactions, one every six hours.
func block(epoch, height uint64, predecessor events.ID) events.Delivery {
	id := events.ID{Major: epoch, Minor: height + 1}
	at := genesis.Add(time.Duration(height) * 6 * time.Hour)
	hash := fmt.Sprintf("h%d-%d", epoch, height)
	entry, err := events.NewBlockEntry(id, events.Block{
		Chain: "testchain", Number: height, Hash: hash, ParentHash: "p", Time: at,
		Fields: map[string]any{"number": height, "hash": hash, "timestamp": at.Unix(), "gas_used": 21000},
		Events: []any{
			map[string]any{"type": "transaction", "hash": fmt.Sprint("a", height), "value": json.Number("1e21")},
			map[string]any{"type": "transaction", "hash": fmt.Sprint("b", height), "value": 2, "input": "x\x00y"},
		},
	}, at)
	if err != nil {
		panic(err)
	}
	return events.NewDelivery(stream, entry, predecessor)
}

func revert(epoch uint64, ancestor, predecessor events.ID) events.Delivery {
	entry, err := events.NewRevertEntry(events.ID{Major: epoch}, "testchain",
		events.Revert{Ancestor: ancestor, Number: ancestor.Minor - 1, Hash: "x"}, genesis)
	if err != nil {
		panic(err)
	}
	return events.NewDelivery(stream, entry, predecessor)
}

func broken(id, predecessor events.ID) events.Delivery {
	entry := events.Entry{ID: id, Fields: []events.Field{{Name: "type", Value: "no chain"}}}
	return events.NewDelivery(stream, entry, predecessor)
}

// history is a chain that forks twice, the second time below the first, with an entry in it that cannot be read.
func history() []events.Delivery {
	var all []events.Delivery
	last := func() events.ID {
		if len(all) == 0 {
			return events.ID{}
		}
		return all[len(all)-1].ID
	}
	for height := range uint64(40) {
		all = append(all, block(0, height, last()))
	}
	all = append(all, broken(events.ID{Minor: 41}, last()), revert(1, events.ID{Minor: 37}, last()))
	all[41].Predecessor = all[40].ID
	for height := uint64(37); height < 45; height++ {
		all = append(all, block(1, height, last()))
	}
	all = append(all, revert(2, events.ID{Minor: 31}, last()))
	for height := uint64(31); height < 46; height++ {
		all = append(all, block(2, height, last()))
	}
	return all
}

// want is what the archive is to hold of a history.
func want(history []events.Delivery) []archived {
	revertedBy := func(id events.ID) string {
		switch {
		case id.Major == 0 && id.Minor > 37:
			return "1-0"
		case id.Major == 0 && id.Minor > 31, id.Major == 1 && id.Minor > 0:
			return "2-0"
		}
		return ""
	}
	var all []archived
	for _, d := range history {
		if d.Type != events.TypeBlock {
			continue
		}
		height, at := d.ID.Minor-1, d.Time.Format("2006-01-02 15:04")
		row := archived{Type: "block", Time: at, Entry: d.ID.String(), RevertedBy: revertedBy(d.ID)}
		row.Fields = fmt.Sprintf(`{"hash": "h%d-%d", "number": %d, "gas_used": 21000, "timestamp": %d}`,
			d.ID.Major, height, height, d.Time.Unix())
		all = append(all, row)
		row.Type, row.Ordinal = "transaction", 1
		row.Fields = fmt.Sprintf(`{"hash": "a%d", "type": "transaction", "value": 1000000000000000000000}`, height)
		all = append(all, row)
		row.Ordinal = 2
		row.Fields = fmt.Sprintf(`{"hash": "b%d", "type": "transaction", "input": "x%sy", "value": 2}`, height, "\uFFFD")
		row.Exact = fmt.Sprintf(`{"hash":"b%d","input":"x\u0000y","type":"transaction","value":2}`, height)
		all = append(all, row)
	}
	return all
}

// TestAnyBatchingGivesTheSameArchive cuts a chain with two forks into overlapping, repeated batches, given to two functions at
// once.
func TestAnyBatchingGivesTheSameArchive(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database, all := pipeline.Store(t, url), pipeline.Database(t, url), history()
	place := func(id events.ID) int {
		return slices.IndexFunc(all, func(d events.Delivery) bool { return d.ID == id }) + 1
	}
	var applying sync.WaitGroup
	for n := range 2 {
		function := archive.NewFunction(archive.Config{}, store)
		applying.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 1))
			for mark := (watermark.Mark{}); place(mark.ID) < len(all); {
				from := max(0, place(mark.ID)-random.IntN(5))
				reached, _, err := function.Apply(t.Context(), stream, all[from:min(len(all), from+1+random.IntN(9))])
				if err != nil && !errors.Is(err, watermark.ErrGap) {
					t.Error(err)
					return
				}
				mark = reached
			}
		})
	}
	applying.Wait()
	if diff := gocmp.Diff(want(all), rows(t, database)); diff != "" {
		t.Error(diff)
	}
	for query, want := range map[string]string{
		"select count(*)::text from archived_entries":                                                                   fmt.Sprint(len(all)),
		"select count(*)::text from archived_entries where chain is null and content_hash <> ''":                        "1",
		"select count(*)::text from dead_letters":                                                                       "1",
		"select count(*)::text from archived_entries where reverted_by_major is null and parent_hash = 'p'":             "46",
		"select string_agg(distinct tableoid::regclass::text, ' ') from chain_events":                                   "chain_events_2024_01 chain_events_2024_02",
		"select count(*)::text from blocks":                                                                             "46",
		"select sum(value)::text from transactions where chain = 'testchain'":                                           "46000000000000000000092",
		"select string_agg(number || ' ' || hash, ',' order by timestamp desc) from blocks where number > 43":           "45 h2-45,44 h2-44",
		"select string_agg(event_type || ' ' || stream || ' ' || left_out, ',' order by 1) from stream_types":           "block " + stream + " 0,transaction " + stream + " 0",
		"select string_agg(reverted_by_major::text, ',') from archived_entries where block_number = 40 and chain <> ''": "2",
	} {
		if got := text(t, database, query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

// TestWhatIsArchivedReadsAsItWasFed compares the fields of events that are hard to keep with those that functions see.
func TestWhatIsArchivedReadsAsItWasFed(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	values := map[string]string{
		"text": `"grüße 𝕏 \"quoted\""`, "escapes": `"a\u0041\ud835\udd4f\n\u001f"`, "NUL": `"a\u0000b"`,
		"NUL in a name": `{"a\u0000": 1, "b\u0000": {"c": ["\u0000"]}}`, "wei": `115792089237316195423570985008687907853269984665640564039457584007913129639935`,
		"small": `1e-300`, "large": `-1.50E+300`, "zeros": `0.100`, "minus zero": `-0`, "list": `[1, [2.0, {"a": null}], true, false]`,
		"empty": `{"a": {}, "b": [], "c": ""}`,
	}
	function := archive.NewFunction(archive.Config{}, store)
	fed := map[string]map[string]any{}
	var before events.ID
	for n, name := range slices.Sorted(maps.Keys(values)) {
		id := events.ID{Major: 1_700_000_000_000, Minor: uint64(n) + 1}
		object := `{"type": "odd", "chain": "testchain", "timestamp": 1699999999, "name": "` + name + `", "value": ` + values[name] + `}`
		d := events.NewDelivery("open", events.Entry{ID: id, Fields: []events.Field{{Name: events.FieldJSON, Value: object}}}, before)
		content, err := d.Open()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		fed[name] = content.Events[0].Fields
		if _, _, err := function.Apply(t.Context(), "open", []events.Delivery{d}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before = id
	}
	for _, row := range rows(t, database) {
		got, err := events.DecodeFields(cmp.Or(row.Exact, row.Fields))
		if err != nil {
			t.Fatal(err)
		}
		name, _ := got["name"].(string)
		if diff := gocmp.Diff(fed[name], got, gocmp.Comparer(sameNumber)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		delete(fed, name)
	}
	if len(fed) > 0 {
		t.Errorf("not archived: %v", fed)
	}
}

// sameNumber compares what two texts of numbers say.
func sameNumber(a, b json.Number) bool {
	left, err := decimal.Parse(string(a))
	right, failed := decimal.Parse(string(b))
	return err == nil && failed == nil && left.Cmp(right) == 0
}

// TestSelection leaves events out, and counts them.
func TestSelection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg         archive.Config
		types, kept string // what is left out and kept of each type; events of each entry
	}{
		"types":               {archive.Config{EventTypes: []string{"block"}}, "block 0 3, transaction 6 0", "1 1 1"},
		"a condition":         {archive.Config{Where: "transaction: event.value > 2"}, "block 0 3, transaction 3 3", "2 2 2"},
		"a missing field":     {archive.Config{Where: "transaction: event.nonce > 2"}, "block 0 3, transaction 6 0", "1 1 1"},
		"what cannot be told": {archive.Config{Where: "transaction: 1 / (event.value - 2) < 0"}, "block 0 3, transaction 3 3", "2 2 2"},
		"both": {
			archive.Config{EventTypes: []string{"transaction"}, Where: `transaction: event.hash != "b1"`},
			"block 3 0, transaction 1 5", "2 1 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := harness.Database(t)
			store, database := pipeline.Store(t, url), pipeline.Database(t, url)
			function := archive.NewFunction(test.cfg, store)
			for n := range 2 { // the second time nothing is new
				_, applied, err := function.Apply(t.Context(), stream, history()[:3])
				if err != nil || applied != 3*(1-n) {
					t.Fatalf("applied %d, %v", applied, err)
				}
			}
			const query = `select string_agg(t.event_type || ' ' || t.left_out || ' ' || (
					select count(*) from chain_events e where e.event_type = t.event_type), ', ' order by t.event_type)
				from stream_types t`
			if got := text(t, database, query); got != test.types {
				t.Errorf("got %s, want %s", got, test.types)
			}
			if got := text(t, database, "select string_agg(events::text, ' ' order by entry_minor) from archived_entries"); got != test.kept {
				t.Errorf("events of entries: %s, want %s", got, test.kept)
			}
		})
	}
}

// TestSelectionIsRefused where it cannot be meant.
func TestSelectionIsRefused(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]string{
		"event.value > 0":              "ARCHIVE_WHERE is no YAML of event types and conditions: want transaction: event.value > 0",
		"transaction: evnt.value > 0":  `ARCHIVE_WHERE of transaction: character 1: unknown name "evnt": did you mean "event"?`,
		"transaction: event.value + 1": "ARCHIVE_WHERE of transaction: gives a decimal: write an expression that gives a condition",
		"log: event.address == 'x'":    "ARCHIVE_WHERE has log, which is not among ARCHIVE_EVENT_TYPES",
		"transaction: ''":              "ARCHIVE_WHERE of transaction: ",
	} {
		cfg := archive.Config{EventTypes: []string{"block", "transaction"}, Where: where}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", where, err, want)
		}
	}
}

// TestRetentionGoesByTwoClocks: where the function's own is a year ahead, nothing is dropped that is to be kept.
func TestRetentionGoesByTwoClocks(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	if err := store.RegisterStream(t.Context(), postgres.Stream{Name: stream, Mode: postgres.ModeOpen}); err != nil {
		t.Fatal(err)
	}
	function := archive.NewFunction(archive.Config{Retention: 62 * 24 * time.Hour}, store)
	now := time.Now()
	entry, err := events.NewFlatEntry(events.ID{Minor: 1}, "sale", "testchain", now.Add(-time.Hour), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := function.Apply(t.Context(), stream, []events.Delivery{events.NewDelivery(stream, entry, events.ID{})}); err != nil {
		t.Fatal(err)
	}
	if err := function.Tick(t.Context(), events.Tick{Function: "archive"}, now.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if got := text(t, database, "select count(*) || ' ' || min(archive_floor) from chain_events, streams"); got != "1 -infinity" {
		t.Errorf("events and floor: %s, want 1 -infinity", got)
	}
}

// TestRetention drops months, raises the floor first, and takes up what was cut short.
func TestRetention(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	function := archive.NewFunction(archive.Config{Retention: 62 * 24 * time.Hour}, store)
	if _, _, err := function.Apply(t.Context(), stream, history()[:20]); err != nil {
		t.Fatal(err)
	}
	// Nothing would remember the floor of a stream that is not registered.
	err := function.Tick(t.Context(), events.Tick{Function: "archive"}, time.Date(2024, 12, 1, 0, 0, 0, 0, time.UTC))
	if err == nil || !strings.Contains(err.Error(), "not registered") || !strings.Contains(err.Error(), stream) {
		t.Errorf("got %v", err)
	}
	if _, err := database.Exec(t.Context(), "insert into streams (name, mode, chain) values ($1, 'feed', 'testchain')", stream); err != nil {
		t.Fatal(err)
	}
	tick := func(now string) {
		t.Helper()
		at, err := time.Parse(time.DateOnly, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := function.Tick(t.Context(), events.Tick{Function: "archive"}, at); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(floor string, left int) {
		t.Helper()
		got := text(t, database, "select archive_floor || ' ' || (select count(*) from blocks) from streams")
		if want := fmt.Sprint(floor, " ", left); got != want {
			t.Errorf("floor and blocks: %s, want %s", got, want)
		}
	}
	const imported = `insert into imported_entries (stream, content_hash, occurrence, entry_time, chain, events)
		select $1, t::text, 1, t::timestamptz, 'testchain', 0 from unnest(array['2024-01-30Z', '2024-02-01Z']) as t`
	if _, err := database.Exec(t.Context(), imported, stream); err != nil {
		t.Fatal(err)
	}
	tick("2024-04-01")
	expect("-infinity", 20)
	tick("2024-04-03") // January, which ended 62 days before, has the first four
	expect("2024-02-01 00:00:00+00", 16)
	if got := text(t, database, "select count(*)::text from archived_entries"); got != "16" {
		t.Errorf("%s entries, want 16", got)
	}
	if got := text(t, database, "select string_agg(content_hash, ',') from imported_entries"); got != "2024-02-01Z" {
		t.Errorf("of what was imported there is %s", got)
	}
	// A reader keeps a month from being detached: it stays pending.
	reader, err := database.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(t.Context(), "select from chain_events limit 1"); err != nil {
		t.Fatal(err)
	}
	impatient, err := pgxpool.New(t.Context(), url+"&statement_timeout=300")
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	if _, err := impatient.Exec(t.Context(), "alter table chain_events detach partition chain_events_2024_02 concurrently"); err == nil {
		t.Fatal("nothing kept the partition from being detached")
	}
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	tick("2024-05-10")
	expect("2024-03-01 00:00:00+00", 0)
}
