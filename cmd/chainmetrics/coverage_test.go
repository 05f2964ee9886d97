package main_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// coverage gives what coverage shows, with the name of the command as it is installed.
func (o *operator) coverage(t *testing.T, args ...string) string {
	t.Helper()
	return strings.ReplaceAll(o.must(t, append([]string{"coverage"}, args...)...), o.binary, "chainmetrics")
}

// TestCoverageNamesWhatIsMissing leaves blocks of the sample chain out.
func TestCoverageNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	if r := o.run(t, "coverage"); r.code != 0 || r.errors != "no stream has brought anything yet\n" {
		t.Errorf("without streams: %+v", r)
	}
	const stream = "blockchain_events:bitcoin"
	feed := postgres.Stream{Name: stream, Mode: postgres.ModeFeed, Chain: "bitcoin"}
	if err := o.store(t).RegisterStream(t.Context(), feed); err != nil {
		t.Fatal(err)
	}
	o.must(t, "stream", "create", "blockchain_events") // of which nothing is known
	var entries []events.Entry
	for number, block := range pipeline.Blocks(t, pipeline.Beginning(t, 600)) {
		if number == 100 || number > 250 && number < 400 {
			continue
		}
		event := block.Event()
		event.Chain = "bitcoin"
		entry, err := events.NewBlockEntry(events.ID{Minor: uint64(number) + 1}, event, event.Time)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	o.archive(t, stream, entries)
	o.must(t, "metric", "apply", "-f", o.metricOn(t, "bitcoin"))
	golden(t, "coverage.txt", o.coverage(t, stream))
	golden(t, "coverage-daily.txt", o.coverage(t, "covered_fees", "--bucket", "daily"))
	golden(t, "coverage-hourly.txt", o.coverage(t, stream, "--bucket", "hourly", "--from", "2009-01-11", "--to", "2009-01-12"))
	golden(t, "coverage.json", o.coverage(t, stream, "--output", "json"))
	golden(t, "coverage-delayed.txt", o.coverage(t, "covered_delays", "--bucket", "daily")) // events of two weeks reach a window
	if got := o.must(t, "status", "--late", never); !strings.Contains(got, "the archive lacks 150 blocks of bitcoin in 2 holes") {
		t.Errorf("status:\n%s", got)
	}
}

// metricOn writes definitions of metrics on the transactions of a chain, and gives the name of the file.
func (o *operator) metricOn(t *testing.T, chain string) string {
	t.Helper()
	o.write(t, "covered.yaml", `
name: covered_fees
type: counter
calculation_logic: {stream: {event_type: transaction, value: event.fee}}
chains: [`+chain+`]
bucket_sizes: [daily]
---
name: covered_delays
type: counter
calculation_logic: {stream: {event_type: transaction, time: event.lock_time}}
chains: [`+chain+`]
bucket_sizes: [daily]
`)
	return "covered.yaml"
}

// TestCoverageOfDeclaredFiles feeds rows with and without saying what they cover.
func TestCoverageOfDeclaredFiles(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	o.write(t, "prices.csv", "at,block,price\n"+
		"2024-02-27 23:00:00,4,1\n2024-02-28 10:00:00,5,1\n2024-02-28 11:00:00,5,2\n2024-03-01 00:00:00,7,1\n2024-03-02 00:00:00,8,1\n")
	const stream = "blockchain_events:testchain:price"
	feed := []string{"feed", "prices.csv", "--chain", "testchain", "--type", "price", "--time", "at", "--block", "block"}
	states := func() (text string) {
		t.Helper()
		var answer []struct {
			Periods []struct {
				From  time.Time `json:"from"`
				State string    `json:"state"`
				Holes []struct {
					From *int64 `json:"from_height"`
				} `json:"holes"`
			} `json:"periods"`
		}
		out := o.must(t, "coverage", stream, "-b", "daily", "--from", "2024-02-27", "--to", "2024-03-04", "-o", "json")
		if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer) != 1 {
			t.Fatalf("%s: %v", out, err)
		}
		for _, p := range answer[0].Periods {
			text += p.From.Format("02 ") + p.State + " "
			for _, h := range p.Holes {
				text += string(rune('0'+*h.From)) + " "
			}
		}
		return strings.TrimSpace(text)
	}
	o.must(t, feed...)
	entries, err := o.redis(t).Range(t.Context(), stream, events.ID{}, events.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	o.archive(t, stream, entries[:3])
	if got, want := states(), "27 unknown"; got != want {
		t.Errorf("nothing is declared: %s, want %s", got, want)
	}
	o.must(t, append(slices.Clone(feed), "--covers-from", "2024-02-28", "--covers-to", "2024-03-03")...)
	if got, want := states(), "27 unknown"; got != want {
		t.Errorf("it is not archived yet: %s, want %s", got, want)
	}
	o.archive(t, stream, entries)
	if got, want := states(), "27 unknown 28 complete 29 empty 01 complete 03 unknown"; got != want {
		t.Errorf("a part is declared: %s, want %s", got, want)
	}
	o.must(t, append(slices.Clone(feed), "--covers-from", "2024-02-28", "--covers-to", "2024-03-03", "--every-height")...)
	if got, want := states(), "27 unknown 28 missing 6 02 complete 03 unknown"; got != want {
		t.Errorf("every height is declared: %s, want %s", got, want)
	}
	golden(t, "coverage-declared.txt", o.coverage(t))
	if err := o.store(t).ExpireArchive(t.Context(), time.Date(2024, 3, 15, 0, 0, 0, 0, time.UTC), 0); err != nil {
		t.Fatal(err)
	}
	if got, want := states(), "27 unknown 01 complete 03 unknown"; got != want {
		t.Errorf("February was dropped: %s, want %s", got, want)
	}
	if got := o.coverage(t, stream); !strings.Contains(got, "  dropped            2024-02-28 00:00:00  2024-03-01 00:00:00\n") {
		t.Errorf("February was dropped:\n%s", got)
	}
}

// TestCoverageOfWhatNobodyKnows asks about an open stream with a loss, about events that are left out, and that never came.
func TestCoverageOfWhatNobodyKnows(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	const open = "blockchain_events"
	o.must(t, "stream", "create", open)
	store := o.store(t)
	swap := func(minor uint64, at string) events.Entry {
		return events.Entry{ID: events.ID{Major: 1_709_300_000_000, Minor: minor}, Fields: []events.Field{
			{Name: events.FieldType, Value: "swap"}, {Name: events.FieldChain, Value: testChain}, {Name: events.FieldTimestamp, Value: at},
		}}
	}
	before, after := swap(1, "2024-02-27T10:00:00Z"), swap(9, "2024-02-29T10:00:00Z")
	o.archive(t, open, []events.Entry{before})
	hole := watermark.Hole{After: before.ID, Next: after.ID, Removed: 7, First: after.ID}
	mark := watermark.Mark{ID: before.ID, Hash: before.ContentHash()}
	if err := store.AcceptHoles(t.Context(), archive.Name, open, mark, []watermark.Hole{hole}, "test"); err != nil {
		t.Fatal(err)
	}
	o.archive(t, open, []events.Entry{before, after})
	blocks := archive.NewFunction(archive.Config{EventTypes: []string{events.BlockEvent}}, store)
	if err := store.RegisterStream(t.Context(), postgres.Stream{Name: testStream, Mode: postgres.ModeFeed, Chain: testChain}); err != nil {
		t.Fatal(err)
	}
	var last events.ID
	for _, entry := range chain(t, 3) {
		if _, _, err := blocks.Apply(t.Context(), testStream, []events.Delivery{events.NewDelivery(testStream, entry, last)}); err != nil {
			t.Fatal(err)
		}
		last = entry.ID
	}
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"), "-f", o.metricOn(t, testChain))
	golden(t, "coverage-unknown.txt", strings.Join([]string{
		o.coverage(t), o.coverage(t, open, "-b", "daily", "--from", "2024-02-26", "--to", "2024-03-02"),
		o.coverage(t, "test_blocks", "-b", "daily"), o.coverage(t, "test_value", "-b", "daily"),
	}, "\n"))
	if r := o.run(t, "coverage", "covered_fees", "-b", "daily"); r.code != 0 || r.errors != "the archive has nothing of it yet\n" {
		t.Errorf("events that never came: %+v", r)
	}
}

func TestCoverageUsage(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	for want, args := range map[string][]string{
		`unexpected argument "b" after a`:                  {"coverage", "a", "b"},
		"--from and --to are of windows":                   {"coverage", "--from", "7d"},
		`--bucket: unknown bucket size "yearly"`:           {"coverage", "--bucket", "yearly"},
		"--from 2024-02 is not before --to 2024-01":        {"coverage", "-b", "daily", "--from", "2024-02", "--to", "2024-01"},
		"--covers-from and --covers-to belong together":    {"feed", "x.csv", "--covers-from", "2024-01"},
		"--every-height: of which interval":                {"feed", "x.csv", "--block", "b", "--every-height"},
		"--every-height: name the column":                  {"feed", "x.csv", "--covers-from", "2024-01", "--covers-to", "2024-02", "--every-height"},
		"--covers-from 2024-02 is not before --covers-to":  {"feed", "x.csv", "--covers-from", "2024-02", "--covers-to", "2024-01"},
		"--covers-to 2999-01 has still to come":            {"feed", "x.csv", "--covers-from", "2024-02", "--covers-to", "2999-01"},
		"--every-height: the blocks of --etl tell that by": {"feed", "x.csv", "--etl", "--covers-from", "2024-01", "--covers-to", "2024-02", "--every-height"},
	} {
		if args[0] == "feed" {
			args = append(args, "--chain", "c")
			if !slices.Contains(args, "--etl") {
				args = append(args, "--type", "a", "--time", "t")
			}
		}
		if r := o.run(t, args...); r.code != 2 || !strings.Contains(r.errors, want) {
			t.Errorf("%s: exit status %d, %q is missing:\n%s", strings.Join(args, " "), r.code, want, r.errors)
		}
	}
	if r := o.run(t, "coverage", "nothing"); r.code != 1 || !strings.Contains(r.errors, "neither a metric nor a stream is named nothing") {
		t.Errorf("unknown name: %+v", r)
	}
}
