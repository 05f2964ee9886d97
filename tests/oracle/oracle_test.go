package oracle

import (
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/chainmetrics/chainmetrics/examples"
)

// An example metric without an entry here, or with other bucket sizes, would not be proved.
func TestKnowsAllExamples(t *testing.T) {
	t.Parallel()
	text, err := fs.ReadFile(examples.Metrics, "metrics/bitcoin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string][]string{}, map[string][]string{}
	for decoder := yaml.NewDecoder(strings.NewReader(string(text))); ; {
		var metric struct {
			Name  string
			Sizes []string `yaml:"bucket_sizes"`
		}
		if decoder.Decode(&metric) != nil {
			break
		}
		want[metric.Name] = metric.Sizes
	}
	for name, m := range measures {
		got[name] = m.sizes
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	path, err := examples.SampleChain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	buckets, err := Buckets(path)
	if err != nil {
		t.Fatal(err)
	}
	totals := map[string]*big.Rat{} // by metric and size
	for key, value := range buckets {
		number, ok := new(big.Rat).SetString(value.Value)
		if !ok {
			t.Fatalf("%v is %q", key, value)
		}
		if totals[key.Metric+" "+key.Size] == nil {
			totals[key.Metric+" "+key.Size] = new(big.Rat)
		}
		totals[key.Metric+" "+key.Size].Add(totals[key.Metric+" "+key.Size], number)
	}
	for name, m := range measures {
		if m.elements != nil || m.shows != "" {
			continue
		}
		for _, size := range m.sizes[1:] {
			if totals[name+" "+size].Cmp(totals[name+" "+m.sizes[0]]) != 0 {
				t.Errorf("%s: %s adds up to something else than %s", name, size, m.sizes[0])
			}
		}
	}
	for name, want := range map[string]string{
		"btc_block_count minutely":          "14132",
		"btc_block_count_median_time daily": "14132",
		"btc_issuance weekly":               "706600",
		"btc_issuance_median_time monthly":  "706600",
		"btc_late_header_count daily":       "108",
	} {
		if got := totals[name].RatString(); got != want {
			t.Errorf("%s: %s in total, want %s", name, got, want)
		}
	}
	for key, want := range map[Key]string{
		{"btc_block_count", "weekly", "2008-12-29T00:00:00Z", "{}"}:                        "1",  // the genesis block, on a Saturday
		{"btc_transfer_value", "hourly", "2009-01-12T03:00:00Z", "{}"}:                     "50", // the first payment
		{"btc_active_addresses", "hourly", "2009-01-03T18:00:00Z", "{}"}:                   "1",
		{"btc_new_outputs", "daily", "2009-01-03T00:00:00Z", `{"type":"pubkey"}`}:          "1",
		{"btc_new_output_value", "daily", "2009-01-03T00:00:00Z", `{"type":"pubkey"}`}:     "50",
		{"btc_block_count_by_version", "daily", "2009-01-03T00:00:00Z", `{"version":"1"}`}: "1",
	} {
		if got := buckets[key]; got.Value != want || got.Exact != nil {
			t.Errorf("%v is %v, want %q", key, got, want)
		}
	}
	// The first day after the genesis block's: block 1 comes five days later, and 14 blocks follow it on the day.
	first := buckets[Key{"btc_block_height", "daily", "2009-01-09T00:00:00Z", "{}"}]
	if diff := cmp.Diff(map[string]string{
		"first": "1", "last": "14", "min": "1", "max": "14", "avg": "7.5", "count": "14",
	}, first.Exact); diff != "" || first.Value != "14" {
		t.Error(first.Value, diff)
	}
	t.Logf("%d buckets", len(buckets))
}

// The calendar agrees with the standard library's, which the product uses, from 1967 to 2106, at the edges of days.
func TestCalendar(t *testing.T) {
	t.Parallel()
	for day := int64(-1000); day < 50_000; day++ {
		for _, second := range []int64{0, 1, 35_999, 86_399} {
			at := time.Unix(day*86_400+second, 0).UTC()
			year, month, inMonth := at.Date()
			sinceMonday := (int(at.Weekday()) + 6) % 7
			for size, want := range map[string]time.Time{
				"minutely":    at.Truncate(time.Minute),
				"10-minutely": at.Truncate(10 * time.Minute),
				"hourly":      at.Truncate(time.Hour),
				"daily":       time.Date(year, month, inMonth, 0, 0, 0, 0, time.UTC),
				"weekly":      time.Date(year, month, inMonth-sinceMonday, 0, 0, 0, 0, time.UTC),
				"monthly":     time.Date(year, month, 1, 0, 0, 0, 0, time.UTC),
			} {
				if got := start(size, at.Unix()); got != want.Format(time.RFC3339) {
					t.Fatalf("%s window of %s starts at %s, want %s", size, at, got, want)
				}
			}
		}
		day += day % 7 & 3 // not every day, but every weekday
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	got := histogram([]reading{{1, 4}, {2, -2}, {3, 1}, {4, 0}}, 1)
	want := Value{
		Value: "0.075",
		Exact: map[string]string{
			"count": "4", "sum": "0.3", "mean": "0.075", "min": "-0.2", "max": "0.4", "stddev": "0.25",
		},
		Quantiles: map[string]string{"p25": "-0.2", "p50": "0", "p75": "0.1", "p90": "0.1", "p95": "0.1", "p99": "0.1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if alone := histogram([]reading{{1, 4}}, 0); alone.Exact["stddev"] != "null" || alone.Quantiles["p99"] != "4" {
		t.Errorf("alone: %v", alone)
	}
}

func TestDecimal(t *testing.T) {
	t.Parallel()
	for want, units := range map[string]int64{
		"0": 0, "1": 100_000_000, "0.00000001": 1, "-0.5": -50_000_000, "12.3": 1_230_000_000, "-21": -2_100_000_000,
	} {
		if got := decimal(big.NewInt(units), 8); got != want {
			t.Errorf("%d satoshi are %s, want %s", units, got, want)
		}
	}
	if got := decimal(big.NewInt(-120), 0); got != "-120" {
		t.Errorf("got %s", got)
	}
}

func TestReadScript(t *testing.T) {
	t.Parallel()
	genesis := append([]byte{65}, hexBytes("04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"+
		"49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f")...)
	genesis = append(genesis, opCheckSig)
	if name, address := readScript(genesis); name != "pubkey" || address != "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa" {
		t.Errorf("the genesis block pays %s %s", name, address)
	}
	burn := slices.Concat([]byte{opDup, opHash160, 20}, make([]byte, 20), []byte{opEqualVerify, opCheckSig})
	if name, address := readScript(burn); name != "pubkeyhash" || address != "1111111111111111111114oLvT2" {
		t.Errorf("a hash of zeros is %s %s", name, address)
	}
	if name, address := readScript([]byte{opDup}); name != "nonstandard" || address != "" {
		t.Errorf("a lone operation is %s %s", name, address)
	}
}

func hexBytes(digits string) []byte {
	n, _ := new(big.Int).SetString(digits, 16)
	return n.FillBytes(make([]byte, len(digits)/2))
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	path, err := examples.SampleChain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := 8 + 285
	for name, spoilt := range map[string][]byte{
		"cut off":              data[:first+50],
		"a block is missing":   data[first : first+10_000],
		"two genesis blocks":   slices.Concat(data[:first], data[:first]),
		"a count is too large": slices.Concat(data[:8+80], []byte{200}, data[8+81:first]),
	} {
		spoiltPath := filepath.Join(t.TempDir(), "blocks.dat")
		if err := os.WriteFile(spoiltPath, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Buckets(spoiltPath); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
