package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
)

const sales = "at,block,price,buyer\n" +
	"2024-02-28 10:00:00,5,10000000000000000000001,alice\n" +
	"2024-02-28 11:00:00,5,-,bob\n" +
	"2024-02-29 00:00:00,7,1,alice\n"

func (o *operator) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFeed(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	o.write(t, "sales.csv", sales)
	flags := []string{"--chain", "testchain", "--type", "sale", "--time", "at", "--block", "block", "--null", "-"}
	feed := func(args ...string) []string { return append(append([]string{"feed"}, args...), flags...) }

	first := o.run(t, feed("sales.csv")...)
	if first.code != 0 || first.out != "" || !strings.Contains(first.errors, "  3 rows added to blockchain_events:testchain:sale ") {
		t.Errorf("first: %+v", first)
	}
	if again := o.answer(t, sales+"2024-02-29 01:00:00,7,2,carol\n", feed("-", "--format", "csv")...); again.code != 0 ||
		!strings.Contains(again.errors, "  1 row added, 3 known to blockchain_events:testchain:sale ") {
		t.Errorf("with one row more, from standard input: %+v", again)
	}
	o.write(t, "changed.csv", strings.Replace(sales, "bob", "mallory", 1))
	o.refused(t, 1, "chainmetrics: feed blockchain_events:testchain:sale: changed.csv, line 3: the stream differs from the file: "+
		"its id 5-2 is in the stream with other content\n", feed("changed.csv")...)
	o.write(t, "mixed.csv", "at,block\n2024-02-29 02:00:00,9\n2024-02-29 01:00:00,8\n")
	o.refused(t, 1, "chainmetrics: feed blockchain_events:testchain:mixed: mixed.csv, line 3: block 8 comes after block 9, of line 2: "+
		"let the feed put the rows in order with --sort\n", feed("mixed.csv", "--set", "mixed")...)

	entries, err := o.redis(t).Range(t.Context(), "blockchain_events:testchain:sale", events.ID{}, events.ID{}, 10)
	if err != nil || len(entries) != 4 || entries[3].ID != (events.ID{Major: 7, Minor: 2}) {
		t.Errorf("the stream holds %v, %v", entries, err)
	}
	if list := o.must(t, "stream", "list"); !strings.Contains(list, "blockchain_events:testchain:sale   feed  testchain        4    5-1   7-2") {
		t.Errorf("streams:\n%s", list)
	}
}

func TestFeedUsage(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for want, args := range map[string][]string{
		"FILE is missing":                   {},
		"the chain is missing":              {"x.csv", "--type", "a", "--time", "t"},
		"the event type is missing":         {"x.csv", "--chain", "c", "--time", "t"},
		"name the whole set with --set":     {"x.csv", "--chain", "c", "--time", "t", "--type-column", "k"},
		`--set "A": small letters`:          {"x.csv", "--chain", "c", "--time", "t", "--type", "a", "--set", "A"},
		`--format "xml": want csv or jsonl`: {"x.csv", "--chain", "c", "--time", "t", "--type", "a", "--format", "xml"},
		`--delimiter "ab": one character`:   {"x.csv", "--chain", "c", "--time", "t", "--type", "a", "--delimiter", "ab"},
		`--rename "a": old=new is expected`: {"x.csv", "--chain", "c", "--time", "t", "--type", "a", "--rename", "a"},
		"--limit 0: at least 1":             {"x.csv", "--chain", "c", "--time", "t", "--type", "a", "--limit", "0"},
	} {
		if r := o.run(t, append([]string{"feed"}, args...)...); r.code != 2 || !strings.Contains(r.errors, want) {
			t.Errorf("feed %s: exit status %d, %q is missing:\n%s", strings.Join(args, " "), r.code, want, r.errors)
		}
	}
}

// TestFeedOfExports joins exports of ethereum-etl into blocks, once, and goes on with later ones.
func TestFeedOfExports(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	blocks := "number,hash,parent_hash,timestamp,transaction_count\n"
	transactions := "hash,nonce,block_number,transaction_index,value\n"
	for i := range 20 {
		blocks += fmt.Sprintf("%d,0xb%d,0xb%d,%d,2\n", i, i, i-1, 1_700_000_000+12*i)
		transactions += fmt.Sprintf("0x%da,0,%d,0,%d000000000000000000\n0x%db,0,%d,1,1\n", i, i, i+1, i, i)
	}
	first := strings.SplitAfterN(blocks, "\n", 12)
	o.write(t, "blocks.csv", strings.Join(first[:11], ""))
	o.write(t, "later.csv", first[0]+first[11])
	rows := strings.SplitAfterN(transactions, "\n", 22)
	o.write(t, "transactions.csv", strings.Join(rows[:21], ""))
	o.write(t, "later_transactions.csv", rows[0]+rows[21])
	o.write(t, "mine.yaml", `
name: value
type: counter
calculation_logic: {stream: {event_type: transaction, value: event.value, scale: -18}}
chains: [ethereum]
bucket_sizes: [daily]
`)
	feed := []string{"feed", "--etl", "--chain", "ethereum"}
	for _, step := range []struct {
		files []string
		want  string
	}{
		{[]string{"transactions.csv", "blocks.csv"}, "  10 rows added to blockchain_events:ethereum "},
		{[]string{"transactions.csv", "blocks.csv"}, "  0 rows added, 10 known to blockchain_events:ethereum "},
		{[]string{"later.csv", "later_transactions.csv"}, "  10 rows added to blockchain_events:ethereum "},
	} {
		if r := o.run(t, append(feed, step.files...)...); r.code != 0 || !strings.Contains(r.errors, step.want) {
			t.Errorf("%v: %+v", step.files, r)
		}
	}
	got := o.must(t, "metric", "test", "mine.yaml", "--etl", "--chain", "ethereum", "--events", "blocks.csv", "--events", "transactions.csv")
	if !strings.Contains(got, "2023-11-14  ethereum  55.00000000000000001\n") {
		t.Errorf("got:\n%s", got)
	}
	entries, err := o.redis(t).Range(t.Context(), "blockchain_events:ethereum", events.ID{}, events.ID{}, 100)
	if err != nil || len(entries) != 20 || entries[19].ID != (events.ID{Minor: 20}) {
		t.Errorf("the stream holds %d entries, %v", len(entries), err)
	}
	o.refused(t, 1, "chainmetrics: feed blockchain_events:ethereum: blocks.csv, line 2: it counts 2 transactions, the files have 0 of "+
		"block 0\n", append(feed, "blocks.csv", "later_transactions.csv")...)
	o.write(t, "logs.csv", "log_index,block_number,address,topics\n0,0,0xcc,0xdd\n")
	o.refused(t, 1, "chainmetrics: feed blockchain_events:ethereum: blocks.csv, line 2: the stream differs from the file: its id 0-1 is "+
		"in the stream with other content\n", append(feed, "blocks.csv", "transactions.csv", "logs.csv")...)
	for want, args := range map[string][]string{
		"--type: the files of --etl": {"--type", "x", "blocks.csv"},
		"--set: blocks are":          {"--set", "x", "blocks.csv"},
		"--limit 0: at least 1":      {"--limit", "0", "blocks.csv"},
	} {
		if r := o.run(t, append(feed, args...)...); r.code != 2 || !strings.Contains(r.errors, want) {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
