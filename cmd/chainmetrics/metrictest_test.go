package main_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/tests/oracle"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const saleMetrics = `
name: sale_price
type: gauge
calculation_logic: {stream: {event_type: sale, value: event.price, dimensions: {buyer: event.buyer}}}
aggregate: last
chains: [testchain]
bucket_sizes: [hourly, daily]
---
name: sale_count
type: counter
calculation_logic: {stream: {event_type: sale}}
aggregate: count
chains: [testchain]
bucket_sizes: [hourly, monthly]
fill: zero
`

// TestMetricTestOfRows tries definitions on the rows that TestFeed feeds.
func TestMetricTestOfRows(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write(t, "mine.yaml", saleMetrics)
	o.write(t, "sales.csv", sales)
	got := o.run(t, "metric", "test", "mine.yaml", "--events", "sales.csv", "--chain", "testchain", "--type", "sale", "--time", "at",
		"--block", "block", "--null", "-", "--show", "count", "--metric", "sale_price")
	want := `sale_price, daily
start       chain      buyer                    value  count
2024-02-28  testchain  alice  10000000000000000000001      1
2024-02-29  testchain  alice                        1      1
`
	if got.code != 0 || got.out != want || !strings.Contains(got.errors, "try       3 entries, 1 metric ") ||
		!strings.Contains(got.errors, "sale_price: not counted 1 time, such as in 5-2: value: no field \"price\"\n") {
		t.Errorf("%+v", got)
	}
	range24 := o.must(t, "metric", "test", "mine.yaml", "--events", "sales.csv", "--chain", "testchain", "--type", "sale", "--time", "at",
		"--metric", "sale_count", "--bucket", "hourly", "--from", "2024-02-28T11:00:00Z", "--to", "2024-02-28T14:00:00Z")
	want = "sale_count, hourly\nstart             chain      value\n2024-02-28 11:00  testchain      1\n" +
		"2024-02-28 12:00  testchain      0\n2024-02-28 13:00  testchain      0\n"
	if range24 != want {
		t.Errorf("got:\n%s", range24)
	}
}

// TestMetricTestOfFullWindows gives a window no room for a set that comes in another batch than the first ones.
func TestMetricTestOfFullWindows(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write(t, "mine.yaml", `
name: sales_by_buyer
type: counter
calculation_logic: {stream: {event_type: sale, dimensions: {buyer: event.buyer}}}
max_dimensions: 2
chains: [testchain]
bucket_sizes: [monthly]
`)
	var lines strings.Builder
	for n := range 2002 {
		fmt.Fprintf(&lines, `{"type":"sale","chain":"testchain","timestamp":1709114400,"buyer":"%c"}`+"\n", 'a'+n/1000)
	}
	o.write(t, "sales.jsonl", lines.String())
	got := o.run(t, "metric", "test", "mine.yaml", "--events", "sales.jsonl")
	want := "sales_by_buyer, monthly\nstart    chain      buyer  value\n2024-02  testchain  a       1000\n2024-02  testchain  b       1000\n"
	told := "sales_by_buyer: not counted 2 times, such as in "
	reason := ": dimensions: more than 2 sets in a window, monthly\n"
	if got.code != 0 || got.out != want || !strings.Contains(got.errors, told) || !strings.Contains(got.errors, reason) {
		t.Errorf("%+v", got)
	}
}

// TestMetricTestOfEvents tries definitions on events as a producer appends them, some of which cannot be counted.
func TestMetricTestOfEvents(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write(t, "mine.yaml", saleMetrics)
	lines := `{"type":"sale","chain":"testchain","timestamp":1709114400,"price":"12.5","buyer":"zoe","route":["a",{"b":1}]}
{"type":"sale","chain":"testchain","timestamp":"yesterday","price":"12.5","buyer":"zoe"}
{"type":"sale","chain":"testchain","timestamp":1709114401,"price":"x","buyer":"zoe"}
`
	r := o.answer(t, lines, "metric", "test", "mine.yaml", "--events", "-", "--format", "jsonl", "--output", "json")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	type failure struct {
		Metric, Reason string
		Count          int
	}
	var got struct {
		Entries     int
		DeadLetters []struct{ Reason string } `json:"dead_letters"`
		Errors      []failure                 `json:"metric_errors"`
		Metrics     []struct {
			Metric  string
			Size    string `json:"bucket_size"`
			Buckets []struct{ Value string }
		}
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Entries != 3 || len(got.DeadLetters) != 1 || !strings.HasPrefix(got.DeadLetters[0].Reason, "no valid timestamp") {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]failure{{"sale_price", "value: not a number", 1}}, got.Errors); diff != "" {
		t.Error(diff)
	}
	if m := got.Metrics; len(m) != 2 || m[0].Buckets[0].Value != "12.5" || m[1].Size != "hourly" || m[1].Buckets[0].Value != "2" {
		t.Errorf("%+v", got.Metrics)
	}
}

// TestMetricTestOfBlocks compares every bucket of the examples with the independent computation.
func TestMetricTestOfBlocks(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	examples, err := filepath.Abs(filepath.Join("..", "..", "examples", "metrics", "bitcoin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file := pipeline.Beginning(t, 300)
	want := map[oracle.Key]string{}
	sizes := map[string]bool{}
	for key, value := range pipeline.Expected(t, file) {
		want[key] = value.Value
		sizes[key.Size] = true
	}
	args := []string{"metric", "test", examples, "--events", file, "--output", "json"}
	for size := range sizes {
		args = append(args, "--bucket", size)
	}
	var answer struct {
		Metrics []struct {
			Metric  string
			Size    string `json:"bucket_size"`
			Buckets []struct {
				Start      time.Time `json:"bucket_start"`
				Dimensions map[string]string
				Value      string
				Filled     bool
			}
		}
	}
	if err := json.Unmarshal([]byte(o.must(t, args...)), &answer); err != nil {
		t.Fatal(err)
	}
	got := map[oracle.Key]string{}
	for _, m := range answer.Metrics {
		for _, b := range m.Buckets {
			dimensions, err := json.Marshal(b.Dimensions)
			if err != nil {
				t.Fatal(err)
			}
			if !b.Filled {
				got[oracle.Key{Metric: m.Metric, Size: m.Size, Start: b.Start.Format(time.RFC3339), Dimensions: string(dimensions)}] = b.Value
			}
		}
	}
	cumulative := map[string]bool{} // running totals are what they show
	text, err := os.ReadFile(examples)
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---") {
		if strings.Contains(document, "\ncumulative: true") {
			_, rest, _ := strings.Cut(document, "name: ")
			name, _, _ := strings.Cut(rest, "\n")
			cumulative[name] = true
		}
	}
	for _, buckets := range []map[oracle.Key]string{got, want} {
		for key := range buckets {
			if cumulative[key.Metric] {
				delete(buckets, key)
			}
		}
	}
	if len(want) < 1000 {
		t.Fatalf("%d buckets are expected", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestMetricTestOfOtherCalculations: a query, and what is derived, are left out, which is told.
func TestMetricTestOfOtherCalculations(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write(t, "mine.yaml", saleMetrics+"---\n"+`
name: sale_rows
type: counter
calculation_logic:
  sql:
    template: select 1 as value from archived_events where event_time >= {start_time} and event_time < {end_time}
    event_types: [sale]
chains: [testchain]
bucket_sizes: [daily]
---
name: price_per_sale
type: gauge
calculation_logic: {derived: {expression: sale_rows / sale_count, dependencies: [sale_rows, sale_count]}}
chains: [testchain]
bucket_sizes: [hourly]
`)
	o.write(t, "e.jsonl", `{"type":"sale","chain":"testchain","timestamp":1709114400,"price":"12.5","buyer":"zoe"}`)
	query := "sale_rows is not tried, since it is made of a query: apply it, then: " + o.binary +
		" metric run sale_rows --bucket daily --from TIME\n"
	derived := "price_per_sale is not tried, since it is derived from other metrics: apply it, then: " + o.binary +
		" metric run price_per_sale --bucket hourly --from TIME\n"
	r := o.run(t, "metric", "test", "mine.yaml", "--events", "e.jsonl", "--metric", "sale_rows", "--metric", "price_per_sale", "--metric", "sale_count",
		"--bucket", "hourly")
	want := "sale_count, hourly\nstart             chain      value\n2024-02-28 10:00  testchain      1\n"
	if r.code != 0 || r.out != want || !strings.HasPrefix(r.errors, query+derived) {
		t.Errorf("%+v", r)
	}
	o.refused(t, 1, "chainmetrics: "+query+"chainmetrics: "+derived, "metric", "test", "mine.yaml", "--events", "e.jsonl",
		"--metric", "sale_rows", "--metric", "price_per_sale")
}

func TestMetricTestUsage(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.write(t, "mine.yaml", saleMetrics)
	o.write(t, "e.jsonl", "{}")
	for want, args := range map[string][]string{
		"FILE is missing":                   {},
		"--events is missing":               {"mine.yaml"},
		`"fortnightly"`:                     {"mine.yaml", "--events", "e.jsonl", "--bucket", "fortnightly"},
		"the chain is missing":              {"mine.yaml", "--events", "e.jsonl", "--time", "t"},
		"is not before --to":                {"mine.yaml", "--events", "e.jsonl", "--from", "2024-02", "--to", "2024-01"},
		`--format "xml": want csv or jsonl`: {"mine.yaml", "--events", "e.jsonl", "--format", "xml"},
		"--show p50":                        {"mine.yaml", "--events", "e.jsonl", "--show", "p50"},
		"--sort is for rows whose time":     {"mine.yaml", "--events", "e.jsonl", "--sort"},
		"--chain is for block files":        {"mine.yaml", "--events", "e.jsonl", "--chain", "c"},
		"both come from standard input":     {"-", "--events", "-", "--format", "jsonl"},
	} {
		if r := o.run(t, append([]string{"metric", "test"}, args...)...); r.code != 2 || !strings.Contains(r.errors, want) {
			t.Errorf("%v: exit status %d, %q is missing:\n%s", args, r.code, want, r.errors)
		}
	}
	o.refused(t, 1, "chainmetrics: no metric of the file has weekly buckets\n", "metric", "test", "mine.yaml", "--events", "e.jsonl",
		"--bucket", "weekly")
	o.refused(t, 1, "chainmetrics: files of blocks are read side by side: name them, instead of standard input\n", "metric", "test",
		"mine.yaml", "--events", "-", "--etl", "--chain", "c", "--format", "csv")
	o.refused(t, 1, "chainmetrics: the file does not define other\n", "metric", "test", "mine.yaml", "--events", "e.jsonl", "--metric", "other")
}

// TestExampleOfOwnData compares what the example's definitions give with its rows, which are read here by themselves.
func TestExampleOfOwnData(t *testing.T) {
	t.Parallel()
	folder, err := filepath.Abs(filepath.Join("..", "..", "examples", "nft-sales"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "sales.csv"))
	if err != nil {
		t.Fatal(err)
	}
	sales, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	volume, traders, want := map[string]*big.Int{}, map[string]map[string]bool{}, map[string]string{}
	counts := map[string]int{}
	for _, sale := range sales[1:] { // block_number,log_index,sold_at,collection,token,seller,buyer,price_wei,market
		day, collection, price := sale[2][:10], sale[3], new(big.Int)
		price.SetString(sale[7], 10)
		if volume[day] == nil {
			volume[day], traders[day] = new(big.Int), map[string]bool{}
		}
		volume[day].Add(volume[day], price)
		traders[day][sale[5]], traders[day][sale[6]] = true, true
		counts["nft_sale_count "+day+" "+collection]++
		if sale[8] != "" {
			counts["nft_market_share "+day+" "+sale[8]]++
		}
		want["nft_price "+day+" "+collection] = ether(price)
	}
	for day := range volume {
		want["nft_volume "+day+" "], want["nft_traders "+day+" "] = ether(volume[day]), strconv.Itoa(len(traders[day]))
	}
	for key, count := range counts {
		want[key] = strconv.Itoa(count)
	}
	var answer struct {
		Metrics []struct {
			Metric  string
			Buckets []struct {
				Start      time.Time `json:"bucket_start"`
				Dimensions map[string]string
				Value      string
			}
		}
	}
	o := newOperator(t)
	if err := json.Unmarshal([]byte(o.must(t, "metric", "test", filepath.Join(folder, "metrics.yaml"), "--events", filepath.Join(folder, "sales.csv"),
		"--chain", "ethereum", "--type", "nft_sale", "--time", "sold_at", "--block", "block_number", "--order", "log_index",
		"--output", "json")), &answer); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range answer.Metrics {
		for _, b := range m.Buckets {
			if m.Metric != "nft_price_spread" { // its quantiles are not exact
				got[m.Metric+" "+b.Start.Format(time.DateOnly)+" "+b.Dimensions["collection"]+b.Dimensions["market"]] = b.Value
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func ether(wei *big.Int) string {
	text := new(big.Rat).SetFrac(wei, big.NewInt(1_000_000_000_000_000_000)).FloatString(18)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}
