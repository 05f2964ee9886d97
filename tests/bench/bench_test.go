// Package bench measures the stream path against the limits of the servers below it, in the same run.
package bench_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"

	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// rounds is how often everything is measured; medians are shown.
const rounds = 5

// count is the number of entries that are read at once, everywhere.
const count = 2000

// BenchmarkStream measures entries per second of each function, from a full stream to committed buckets, next to what Redis
// alone gives for the same entries and to one request and one transaction per entry. Servers are durable as in production:
// AOF every second, PostgreSQL's fsync at each commit.
func BenchmarkStream(b *testing.B) {
	for _, kind := range []string{"counter", "gauge", "histogram"} {
		b.Run("flat/"+kind, func(b *testing.B) { repeat(b, flatBed(b, kind, flatMetrics[kind], flatEntries)) })
		b.Run("block/"+kind, func(b *testing.B) { repeat(b, blockBed(b, kind)) })
	}
}

// BenchmarkMetrics measures entries per second under more and more metrics of the same events.
func BenchmarkMetrics(b *testing.B) {
	for metrics, entries := 1, flatEntries; metrics <= 1000; metrics, entries = 10*metrics, entries/4 {
		b.Run(strconv.Itoa(metrics), func(b *testing.B) {
			bed := flatBed(b, "counter", manyCounters(metrics), entries)
			for range b.N {
				rate := bed.deliver(b, count, entries)
				bed.check(b)
				b.ReportMetric(0, "ns/op") // the time of a round says nothing
				b.ReportMetric(rate, "entries/s")
				b.ReportMetric(rate*float64(metrics), "evaluations/s")
			}
		})
	}
}

func repeat(b *testing.B, bed *bed) {
	b.Helper()
	for range b.N {
		report(b, b.Name(), bed)
	}
}

func report(b *testing.B, name string, bed *bed) {
	b.Helper()
	kinds := []struct {
		name    string
		measure func(*testing.B) float64
	}{
		{"stream to committed buckets", func(b *testing.B) float64 { b.Helper(); return bed.deliver(b, count, bed.entries) }},
		{"COPY of these buckets alone", bed.copyBuckets},
		{"XRANGE alone", bed.readRange},
		{"XREADGROUP and XACK alone", bed.readGroup},
		{"a request and a transaction per entry", func(b *testing.B) float64 { b.Helper(); return bed.deliver(b, 1, bed.entries/50) }},
	}
	rates := make([][]float64, len(kinds))
	for round := range rounds {
		for i, kind := range kinds {
			rates[i] = append(rates[i], kind.measure(b))
			if i == 0 && round == rounds-1 {
				bed.check(b)
			}
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\n%s: %d entries, %d events, medians of %d\tentries/s\tevents/s\tratio\t\n", name, bed.entries, bed.events, rounds)
	ours := median(rates[0])
	for i, kind := range kinds {
		rate := median(rates[i])
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.2f\t\n", kind.name, rate, rate*float64(bed.events)/float64(bed.entries), ours/rate)
	}
	if err := table.Flush(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op") // the time of a round says nothing
	b.ReportMetric(ours, "entries/s")
	b.ReportMetric(ours/median(rates[3]), "of-XREADGROUP")
	b.ReportMetric(ours/median(rates[4]), "of-one-by-one")
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
