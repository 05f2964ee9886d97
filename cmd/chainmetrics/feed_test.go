package main_test

import (
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
