package integration_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/oracle"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestMetricsChangeAtFullSpeed: the counter applies a full stream as fast as it can when a metric is new and another gets another
// calculation. A run Service, to which ticks come without pause, computes their history beside it. In the end they have exactly the
// buckets that they would have had.
func TestMetricsChangeAtFullSpeed(t *testing.T) {
	t.Parallel()
	const blocks = 4000
	databaseURL, redisURL := harness.Database(t), harness.Redis(t)
	store, database := pipeline.Store(t, databaseURL), pipeline.Database(t, databaseURL)
	file := pipeline.Beginning(t, blocks)
	expected := pipeline.Expected(t, file, "counter")
	const newcomer, converted, constant = "btc_fees", "btc_block_size", "btc_active_addresses"
	var definitions []metric.Definition
	for _, d := range applyCoarse(t, store, expected, bucket.Daily, "counter") {
		if slices.Contains([]string{newcomer, converted, constant}, d.Name) {
			definitions = append(definitions, d)
		} else if _, err := store.DeleteMetric(t.Context(), d.Name); err != nil { // few, so that their history comes soon
			t.Fatal(err)
		}
	}
	maps.DeleteFunc(expected, func(key oracle.Key, _ oracle.Value) bool {
		return !slices.ContainsFunc(definitions, func(d metric.Definition) bool { return d.Name == key.Metric })
	})
	convert := applyLater(t, store, definitions, []string{newcomer}, []string{converted})
	start := func(p *pipeline.Program) {
		t.Helper()
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	feed := pipeline.Feed(t, "feed", harness.Build(t, "events/feed"), databaseURL, redisURL, file, nil)
	start(feed)
	if err := feed.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}

	environment := map[string]string{"DELIVERY_TIMEOUT": "100s", "REDIS_URL": redisURL}
	service, serviceURL := pipeline.Function(t, "run Service", harness.Build(t, "functions/counter"), databaseURL, environment)
	start(service)
	pipeline.AwaitReady(t, serviceURL)
	reached := func(kind string) uint64 { return pipeline.Watermark(t, database, kind, pipeline.Stream).Minor }
	begin := func(kind string) {
		t.Helper()
		function, url := pipeline.Function(t, kind, harness.Build(t, "functions/"+kind), databaseURL, environment)
		source, _ := pipeline.Source(t, kind+" source", harness.Build(t, "events/source"), redisURL, url,
			map[string]string{"FUNCTION": kind, "SOURCE_BATCH_ENTRIES": "25"})
		start(function)
		pipeline.AwaitReady(t, url)
		start(source)
	}
	begin("archive") // and has everything before, so that what is computed has to end where the counter is
	pipeline.Eventually(t, time.Minute, "everything is archived", func() bool { return reached("archive") == blocks })
	begin("counter")
	pipeline.Eventually(t, time.Minute, "a tenth is applied", func() bool { return reached("counter") > blocks/10 })
	began, before := time.Now(), reached("counter")
	convert()
	ticking, stop := context.WithCancel(t.Context())
	defer stop()
	var clock sync.WaitGroup
	clock.Go(func() {
		for ticking.Err() == nil {
			if status, err := sendTick(t.Context(), serviceURL, "counter", bucket.Daily); status != http.StatusNoContent || err != nil {
				t.Errorf("tick: %d, %v", status, err)
			}
		}
	})
	pipeline.Eventually(t, time.Minute, "everything is applied", func() bool { return reached("counter") == blocks })
	took := time.Since(began)
	stop()
	clock.Wait()
	var beside int
	const done = "select count(*) from runs where reason = 'history' and state = 'succeeded'"
	if err := database.QueryRow(t.Context(), done).Scan(&beside); err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f blocks per second, and %d windows beside them", float64(blocks-before)/took.Seconds(), beside)
	carryOut(t, database, map[string]string{"counter": serviceURL}, "counter")
	if diff := pipeline.Differences(t, database, expected); diff != "" {
		t.Error(diff)
	}
	var history, changes, provisional int
	const query = `select count(*) filter (where reason = 'history'), coalesce(sum(changes) filter (where reason <> 'history'), 0),
			(select count(*) from metric_buckets where not final and bucket_end <= (select min(low_water) from stream_watermarks))
		from runs`
	if err := database.QueryRow(t.Context(), query).Scan(&history, &changes, &provisional); err != nil {
		t.Fatal(err)
	}
	if history == 0 || changes > 0 || provisional > 0 {
		t.Errorf("%d runs of history, %d changes that nothing explains, %d buckets that are due and not final", history, changes, provisional)
	}
}
