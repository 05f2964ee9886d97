package main_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestImportOfBlocks fills the hole of an accepted loss from exported files.
func TestImportOfBlocks(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	store := o.store(t)
	if err := store.RegisterStream(t.Context(), postgres.Stream{Name: testStream, Mode: postgres.ModeFeed, Chain: testChain}); err != nil {
		t.Fatal(err)
	}
	o.write(t, "blocks.csv", exported(0, 6))
	arguments := []string{"import", "blocks.csv", "--etl", "--chain", testChain}
	o.refused(t, 1, "chainmetrics: import into "+testStream+": nothing of the stream is archived\n"+
		"  what lies above the end of a stream is fed: "+o.binary+" feed --help\n", arguments...)
	entries := chain(t, 5) // blocks 1 to 3 are lost
	o.archive(t, testStream, entries[:1])
	o.deliver(t, entries[:1])
	o.accept(t, testStream, watermark.Hole{After: entries[0].ID, Next: entries[4].ID, Removed: 3, First: entries[4].ID})
	o.archiveAfter(t, testStream, entries[0].ID, entries[4:])
	batch := deliveries(testStream, entries[0].ID, entries[4:])
	if _, _, err := aggregate.NewFunction(counter.Type{}, store).Apply(t.Context(), testStream, batch); err != nil {
		t.Fatal(err)
	}

	if r := o.run(t, append(arguments, "--dry-run")...); r.code != 0 ||
		!strings.Contains(r.errors, "3 entries to be imported, 2 known, 1 left to the feed ") {
		t.Errorf("for show: %+v", r)
	}
	for _, wanted := range []string{
		"3 entries imported, 2 known, 1 left to the feed, 1 hole filled ", "0 entries imported, 5 known, 1 left to the feed ",
	} {
		if r := o.run(t, arguments...); r.code != 0 || !strings.Contains(r.errors, wanted) {
			t.Errorf("want %s: %+v", wanted, r)
		}
	}
	if got := o.must(t, "status", "-o", "json"); !regexp.MustCompile(`"imported_at": "20[^"]+Z"`).MatchString(got) {
		t.Errorf("status:\n%s", got)
	}
	if r := o.run(t, "backfill", "test_blocks", "-b", "daily"); r.code != 0 || !strings.Contains(r.errors, "5 succeeded") {
		t.Errorf("backfill: %+v", r)
	}
	if got := o.must(t, "query", "test_blocks", "-b", "daily", "-o", "csv"); strings.Count(got, ",testchain,1,") != 5 {
		t.Errorf("buckets:\n%s", got)
	}
	o.write(t, "wrong.csv", strings.Replace(exported(1, 3), blockHash(2), blockHash(77), 1))
	r := o.run(t, "import", "wrong.csv", "--etl", "--chain", testChain)
	want := fmt.Sprintf("chainmetrics: import %s: wrong.csv, line 3: block 2 is %s, the archive has %s\n", testStream, blockHash(77),
		blockHash(2))
	if r.code != 1 || !strings.HasPrefix(r.errors, want) {
		t.Errorf("another block: %+v", r)
	}
}

// exported is an export of the blocks of the chain, without what happened in them.
func exported(from, to uint64) string {
	var text strings.Builder
	text.WriteString("number,hash,parent_hash,timestamp,gas_used\n")
	for number := from; number < to; number++ {
		fmt.Fprintf(&text, "%d,%s,%s,%d,1\n", number, blockHash(number), blockHash(number-1), 1709076600+86400*number)
	}
	return text.String()
}

// TestImportOfBlockFiles leaves a range of real blocks out, imports it, and holds all buckets of the examples against the
// independent computation: those of gauges and histograms, since one of the counters has 20,000 windows around each block.
func TestImportOfBlockFiles(t *testing.T) {
	t.Parallel()
	const count, from, to = 600, 150, 400
	const stream = "blockchain_events:bitcoin"
	o := newOperator(t, "postgres")
	store := o.store(t)
	if err := store.RegisterStream(t.Context(), postgres.Stream{Name: stream, Mode: postgres.ModeFeed, Chain: "bitcoin"}); err != nil {
		t.Fatal(err)
	}
	kinds := slices.DeleteFunc(slices.Clone(functions.Types), func(t aggregate.Type) bool { return t.Definitions().Name == "counter" })
	for _, d := range pipeline.ApplyExamples(t, store) {
		if d.Type != "counter" {
			continue
		}
		if _, err := store.DeleteMetric(t.Context(), d.Name); err != nil {
			t.Fatal(err)
		}
	}
	file := pipeline.Beginning(t, count)
	var entries []events.Entry
	for _, block := range pipeline.Blocks(t, file) {
		event := block.Event()
		event.Chain = "bitcoin"
		entry, err := events.NewBlockEntry(events.ID{Minor: block.Number + 1}, event, event.Time)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	apply := func(after events.ID, some []events.Entry) {
		t.Helper()
		o.archiveAfter(t, stream, after, some)
		for _, kind := range kinds {
			if _, _, err := aggregate.NewFunction(kind, store).Apply(t.Context(), stream, deliveries(stream, after, some)); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply(events.ID{}, entries[:from])
	o.accept(t, stream, watermark.Hole{After: entries[from-1].ID, Next: entries[to].ID, Removed: to, First: entries[to].ID})
	apply(entries[from-1].ID, entries[to:])

	if r := o.run(t, "import", file, "--heights", "100-450"); r.code != 0 ||
		!strings.Contains(r.errors, "250 entries imported, 101 known, 1 hole filled ") {
		t.Errorf("import: %+v", r)
	}
	for _, kind := range kinds {
		for _, size := range bucket.Sizes() {
			if _, err := runner.Work(t.Context(), kind, store, []runner.Queue{{Size: size}}, time.Minute, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	database := pipeline.Database(t, o.variable("POSTGRES_URL"))
	if differences := pipeline.Differences(t, database, pipeline.Expected(t, file, "gauge", "histogram")); differences != "" {
		t.Error(differences)
	}
	if got := o.must(t, "run", "list", "--state", "queued", "-o", "json"); got != "[]\n" {
		t.Errorf("queued:\n%s", got)
	}
}

func TestImportUsage(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for want, args := range map[string][]string{
		"FILE is missing": {},
		"--heights is about block files: FILE is a folder of them, or *.dat": {"x.csv", "--heights", "5-6"},
		`--heights "5": first-last is expected`:                              {"x.dat", "--heights", "5"},
		`--heights "6-5": first-last is expected`:                            {"x.dat", "--heights", "6-5"},
		"the event type is missing":                                          {"x.csv", "--chain", "c", "--time", "t"},
		"name the whole set with --set":                                      {"x.csv", "--chain", "c", "--time", "t", "--type-column", "k"},
	} {
		if r := o.run(t, append([]string{"import"}, args...)...); r.code != 2 || !strings.Contains(r.errors, want) {
			t.Errorf("%v: want %s: %+v", args, want, r)
		}
	}
}

// accept records a loss of a stream for all its functions.
func (o *operator) accept(t *testing.T, stream string, hole watermark.Hole) {
	t.Helper()
	store := o.store(t)
	marks, err := store.Marks(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marks {
		if err := store.AcceptHoles(t.Context(), m.Function, stream, m.Mark, []watermark.Hole{hole}, "gone"); err != nil {
			t.Fatal(err)
		}
	}
}
