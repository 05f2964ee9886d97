package integration_test

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/bitcoin"
	"github.com/chainmetrics/chainmetrics/examples"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/oracle"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

var blocksFlag = flag.Int("blocks", 800, "blocks of the sample chain, which has 14132, in every metric by both times")

// TestEveryMetricByBothTimes computes each example metric in all bucket sizes, by header time and by median time past.
func TestEveryMetricByBothTimes(t *testing.T) {
	t.Parallel()
	file := pipeline.Beginning(t, *blocksFlag)
	expected, err := oracle.BucketsByBothTimes(file)
	if err != nil {
		t.Fatal(err)
	}
	url := harness.Database(t)
	store := pipeline.Store(t, url)
	if _, err := store.ApplyMetrics(t.Context(), byBothTimes(t)); err != nil {
		t.Fatal(err)
	}
	deliveries := deliveriesOf(t, file)
	t.Run("metric types", func(t *testing.T) {
		for _, kind := range functions.Types {
			t.Run(kind.Definitions().Name, func(t *testing.T) {
				t.Parallel()
				apply(t, store, kind, deliveries)
			})
		}
	})
	if differences := pipeline.Differences(t, pipeline.Database(t, url), expected); differences != "" {
		t.Error(differences)
	}
}

// byBothTimes gives the example metrics in all sizes, and for each one by header time a second one by median time past.
func byBothTimes(t *testing.T) []metric.Definition {
	t.Helper()
	const file = "metrics/bitcoin.yaml"
	text, err := examples.Metrics.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := metric.Parse(file, text, functions.Definitions())
	if err != nil {
		t.Fatal(err)
	}
	var all []metric.Definition
	for _, d := range definitions {
		if strings.HasSuffix(d.Name, oracle.MedianTimeSuffix) {
			continue
		}
		d.BucketSizes = bucket.Sizes()
		all = append(all, d)
		d.Name += oracle.MedianTimeSuffix
		stream := *d.Calculation.Stream
		stream.Time = "block.median_time"
		d.Calculation.Stream = &stream
		all = append(all, d)
	}
	return all
}

// deliveriesOf gives what a source would deliver of the stream that a block file becomes.
func deliveriesOf(t *testing.T, file string) []events.Delivery {
	t.Helper()
	var deliveries []events.Delivery
	var last events.ID
	for _, block := range pipeline.Blocks(t, file) {
		entry := blockEntry(t, block)
		deliveries = append(deliveries, events.NewDelivery(pipeline.Stream, entry, last))
		last = entry.ID
	}
	return deliveries
}

// blockEntry gives the entry that a feed would make of a block.
func blockEntry(t *testing.T, block *bitcoin.Block) events.Entry {
	t.Helper()
	content := block.Event()
	content.Chain = "bitcoin"
	entry, err := events.NewBlockEntry(events.ID{Minor: block.Number + 1}, content, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// apply applies them in batches, as a function does.
func apply(t *testing.T, store *postgres.Store, kind aggregate.Type, deliveries []events.Delivery) {
	t.Helper()
	function := aggregate.NewFunction(kind, store)
	const most = 500
	for len(deliveries) > 0 {
		batch := deliveries[:min(most, len(deliveries))]
		if _, _, err := function.Apply(t.Context(), pipeline.Stream, batch); err != nil {
			t.Fatal(err)
		}
		deliveries = deliveries[len(batch):]
	}
}
