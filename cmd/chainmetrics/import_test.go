package main_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestImportOfBlocks fills the hole of an accepted loss from exported files.
func TestImportOfBlocks(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
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
	marks, err := store.Marks(t.Context(), testStream)
	if err != nil {
		t.Fatal(err)
	}
	hole := watermark.Hole{After: entries[0].ID, Next: entries[4].ID, Removed: 3, First: entries[4].ID}
	for _, m := range marks {
		if err := store.AcceptHoles(t.Context(), m.Function, testStream, m.Mark, []watermark.Hole{hole}, "gone"); err != nil {
			t.Fatal(err)
		}
	}
	o.archiveAfter(t, testStream, entries[0].ID, entries[4:])
	batch := deliveries(testStream, entries[0].ID, entries[4:])
	if _, _, err := aggregate.NewFunction(counter.Type{}, store).Apply(t.Context(), testStream, batch); err != nil {
		t.Fatal(err)
	}

	for text, wanted := range map[string]string{"--dry-run": "3 entries to be imported, 2 known, 1 left to the feed "} {
		if r := o.run(t, append(arguments, text)...); r.code != 0 || !strings.Contains(r.errors, wanted) {
			t.Errorf("%s: %+v", text, r)
		}
	}
	for _, wanted := range []string{
		"3 entries imported, 2 known, 1 left to the feed, 1 hole filled ", "0 entries imported, 5 known, 1 left to the feed ",
	} {
		if r := o.run(t, arguments...); r.code != 0 || !strings.Contains(r.errors, wanted) {
			t.Errorf("want %s: %+v", wanted, r)
		}
	}
	if r := o.run(t, "backfill", "test_blocks", "-b", "daily"); r.code != 0 || !strings.Contains(r.errors, "5 succeeded") {
		t.Errorf("backfill: %+v", r)
	}
	if got := o.must(t, "query", "test_blocks", "-b", "daily", "-o", "csv"); strings.Count(got, ",testchain,1,") != 5 {
		t.Errorf("buckets:\n%s", got)
	}
	o.write(t, "wrong.csv", strings.Replace(exported(1, 3), blockHash(2), blockHash(77), 1))
	r := o.run(t, "import", "wrong.csv", "--etl", "--chain", testChain)
	if want := fmt.Sprintf("chainmetrics: import %s: wrong.csv, line 3: block 2 is %s, the archive has %s\n", testStream, blockHash(77), blockHash(2)); r.code != 1 ||
		!strings.HasPrefix(r.errors, want) {
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

// TestImportOfBlockFiles reads what the feed reads.
func TestImportOfBlockFiles(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	store := o.store(t)
	const stream = "blockchain_events:bitcoin"
	if err := store.RegisterStream(t.Context(), postgres.Stream{Name: stream, Mode: postgres.ModeFeed, Chain: "bitcoin"}); err != nil {
		t.Fatal(err)
	}
	blocks := pipeline.Beginning(t, 30)
	var last events.Entry
	for _, block := range pipeline.Blocks(t, blocks)[20:21] {
		event := block.Event()
		event.Chain = "bitcoin"
		entry, err := events.NewBlockEntry(events.ID{Minor: block.Number + 1}, event, event.Time)
		if err != nil {
			t.Fatal(err)
		}
		last = entry
	}
	o.archiveAfter(t, stream, events.ID{}, []events.Entry{last})
	if r := o.run(t, "import", blocks, "--heights", "5-25"); r.code != 0 ||
		!strings.Contains(r.errors, "15 entries imported, 1 known, 5 left to the feed ") {
		t.Errorf("import: %+v", r)
	}
	o.refused(t, 2, "chainmetrics: --heights \"5\": first-last is expected\n  see chainmetrics import --help\n", "import", blocks, "--heights", "5")
	o.refused(t, 2, "chainmetrics: --heights is about block files: FILE is a folder of them, or *.dat\n  see chainmetrics import --help\n",
		"import", "x.csv", "--heights", "5-6")
}
