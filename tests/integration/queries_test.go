package integration_test

import (
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// exampleFile reads definitions of a file below examples.
func exampleFile(t *testing.T, file string) []metric.Definition {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := metric.Parse(file, text, functions.Definitions())
	if err != nil {
		t.Fatal(err)
	}
	return definitions
}

// computed is a store in which functions and runs have computed some metrics.
type computed struct {
	store    *postgres.Store
	database *pgxpool.Pool
}

// compute registers definitions, checks that their queries can be run, applies a stream, and carries out all runs.
func compute(t *testing.T, definitions []metric.Definition, stream string, deliveries []events.Delivery) computed {
	t.Helper()
	url := harness.Database(t)
	c := computed{pipeline.Store(t, url), pipeline.Database(t, url)}
	if err := metric.CheckDependencies(definitions); err != nil {
		t.Fatal(err)
	}
	checkQueries(t, c.store, definitions)
	if _, err := c.store.ApplyMetrics(t.Context(), definitions); err != nil {
		t.Fatal(err)
	}
	if _, _, err := archive.NewFunction(archive.Config{}, c.store).Apply(t.Context(), stream, deliveries); err != nil {
		t.Fatal(err)
	}
	for _, kind := range functions.Types {
		if _, _, err := aggregate.NewFunction(kind, c.store).Apply(t.Context(), stream, deliveries); err != nil {
			t.Fatal(err)
		}
	}
	c.run(t)
	return c
}

// run sends ticks until nothing is queued.
func (c computed) run(t *testing.T) {
	t.Helper()
	for left := -1; left != 0; {
		for _, kind := range functions.Types {
			for _, size := range bucket.Sizes() {
				tick := events.Tick{Function: kind.Definitions().Name, BucketSize: size.String()}
				if err := runner.NewFunction(kind, c.store).Tick(t.Context(), tick, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := left
		const queued = "select count(*) from runs where state in ('queued', 'running')"
		if err := c.database.QueryRow(t.Context(), queued).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left == before && left > 0 {
			t.Fatalf("%d runs stay queued", left)
		}
	}
}

// shown gives the values of a metric's buckets of a size: of the final ones, or of all; by their start and dimensions.
func (c computed) shown(t *testing.T, name string, size bucket.Size, onlyFinal bool) map[string]string {
	t.Helper()
	const query = `select to_char(bucket_start at time zone 'UTC', 'YYYY-MM-DD HH24') || coalesce(' ' || (select string_agg(v, ' ') from jsonb_each_text(dimensions) d (k, v)), ''),
			trim_scale(value)::text
		from metric_buckets where metric = $1 and bucket_size = $2 and (final or not $3)`
	rows, err := c.database.Query(t.Context(), query, name, size.String(), onlyFinal)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	var key, value string
	if _, err := pgx.ForEachRow(rows, []any{&key, &value}, func() error { all[key] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// quotients divides the values of one metric by those of another, or by those of the same time, where both have some.
func quotients(t *testing.T, over, under map[string]string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for key, value := range over {
		divisor, ok := under[key]
		if !ok {
			divisor, ok = under[key[:len("2009-01-03 00")]]
		}
		if !ok || divisor == "0" {
			continue
		}
		a, b := new(big.Rat), new(big.Rat)
		if _, ok := a.SetString(value); !ok {
			t.Fatalf("%q is no number", value)
		}
		if _, ok := b.SetString(divisor); !ok {
			t.Fatalf("%q is no number", divisor)
		}
		text := a.Quo(a, b).FloatString(18)
		all[key] = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return all
}

// TestExamplesOfQueries computes them over the beginning of the sample chain.
func TestExamplesOfQueries(t *testing.T) {
	t.Parallel()
	const blocks = 300 // 3 to 13 January 2009; the first payment is in block 170
	definitions := exampleFile(t, "queries/bitcoin.yaml")
	for _, d := range exampleFile(t, "metrics/bitcoin.yaml") {
		if slices.Contains([]string{"btc_transfer_value", "btc_payment_count", "btc_fees", "btc_new_outputs", "btc_output_count", "btc_issuance"}, d.Name) {
			definitions = append(definitions, d)
		}
	}
	for i := range definitions { // the hours of two are enough
		if d := &definitions[i]; !strings.HasPrefix(d.Name, "btc_transfer_value") {
			d.BucketSizes = slices.DeleteFunc(d.BucketSizes, func(size bucket.Size) bool { return size < bucket.Daily })
		}
	}
	deliveries := deliveriesOf(t, pipeline.Beginning(t, blocks))
	c := compute(t, definitions, pipeline.Stream, deliveries)
	for _, size := range []bucket.Size{bucket.Hourly, bucket.Daily} {
		want, got := c.shown(t, "btc_transfer_value", size, true), c.shown(t, "btc_transfer_value_by_query", size, true)
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s: value of %d windows by stream and by query (-stream +query)\n%s", size, len(want), diff)
		}
	}
	payments := map[string]*big.Int{}
	for key, value := range c.shown(t, "btc_payments_by_outputs", bucket.Daily, true) {
		day := key[:len("2009-01-03 00")]
		if payments[day] == nil {
			payments[day] = new(big.Int)
		}
		n, _ := new(big.Int).SetString(value, 10)
		payments[day].Add(payments[day], n)
	}
	if got, want := fmt.Sprint(payments), fmt.Sprint(integers(c.shown(t, "btc_payment_count", bucket.Daily, true))); got != want {
		t.Errorf("payments by outputs are %s, want %s", got, want)
	}
	issued, supply := c.shown(t, "btc_issuance", bucket.Daily, true), c.shown(t, "btc_supply", bucket.Daily, true)
	want, total := map[string]string{}, new(big.Int)
	for _, day := range slices.Sorted(maps.Keys(issued)) {
		n, _ := new(big.Int).SetString(issued[day], 10)
		want[day] = total.Add(total, n).String()
	}
	if diff := cmp.Diff(want, supply); diff != "" || len(supply) < 4 {
		t.Errorf("supply (-sum of issuance +query)\n%s", diff)
	}
	for name, of := range map[string][2]string{
		"btc_fee_per_transaction": {"btc_fees", "btc_payment_count"},
		"btc_output_share":        {"btc_new_outputs", "btc_output_count"},
		"btc_velocity":            {"btc_transfer_value_by_query", "btc_supply"},
	} {
		got, want := c.shown(t, name, bucket.Daily, true), quotients(t, c.shown(t, of[0], bucket.Daily, true), c.shown(t, of[1], bucket.Daily, true))
		if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
			t.Errorf("%s of %d windows (-quotient +derived)\n%s", name, len(got), diff)
		}
	}
}

// TestQueriesOfPages: those that documentation shows can be run.
func TestQueriesOfPages(t *testing.T) {
	t.Parallel()
	store := pipeline.Store(t, harness.Database(t))
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(block[1], "template: |") {
				continue
			}
			definitions, err := metric.Parse(page, []byte(block[1]), functions.Definitions())
			if err != nil {
				t.Fatal(err)
			}
			found += len(definitions)
			checkQueries(t, store, definitions)
		}
	}
	if found < 2 {
		t.Errorf("only %d queries were found", found)
	}
}

func checkQueries(t *testing.T, store *postgres.Store, definitions []metric.Definition) {
	t.Helper()
	for _, d := range definitions {
		query := d.Calculation.SQL
		if query == nil {
			continue
		}
		program, err := metric.Compile(d, functions.Definition(d.Type))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.CheckQuery(t.Context(), *query, program.CheckColumns); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
}

func integers(texts map[string]string) map[string]*big.Int {
	all := map[string]*big.Int{}
	for key, text := range texts {
		all[key], _ = new(big.Int).SetString(text, 10)
	}
	return all
}

// TestExampleOfShares: where nothing failed the share is zero, and where nothing happened there is none.
func TestExampleOfShares(t *testing.T) {
	t.Parallel()
	const stream = "blockchain_events:ethereum"
	begin := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	var deliveries []events.Delivery
	var last events.ID
	for number, statuses := range [][]int{{1, 1, 0}, {1, 1}, {}, {0, 1, 1, 1}, {}} { // an hour each
		at := begin.Add(time.Duration(number) * time.Hour)
		hash := fmt.Sprintf("h%d", number)
		block := events.Block{
			Chain: "ethereum", Number: uint64(number), Hash: hash, ParentHash: fmt.Sprintf("h%d", number-1), Time: at,
			Fields: map[string]any{"number": number, "hash": hash, "timestamp": at.Unix()},
		}
		for _, status := range statuses {
			block.Events = append(block.Events, map[string]any{"type": "transaction", "receipt_status": status})
		}
		entry, err := events.NewBlockEntry(events.ID{Minor: uint64(number) + 1}, block, at)
		if err != nil {
			t.Fatal(err)
		}
		deliveries = append(deliveries, events.NewDelivery(stream, entry, last))
		last = entry.ID
	}
	c := compute(t, exampleFile(t, "queries/ethereum.yaml"), stream, deliveries)
	want := map[string]string{"2024-01-01 00": "0.333333333333333333", "2024-01-01 01": "0", "2024-01-01 03": "0.25"}
	if diff := cmp.Diff(want, c.shown(t, "eth_failed_share", bucket.Hourly, false)); diff != "" {
		t.Errorf("share of what failed (-want +got)\n%s", diff)
	}
}
