package integration_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestMetricsChangeAtFullSpeed: the counter applies a full stream as fast as it can when a metric is new and another gets another
// calculation. A run Service, to which ticks come without pause, computes their history beside it. In the end they have exactly the
// buckets that they would have had.
func TestMetricsChangeAtFullSpeed(t *testing.T) {
	t.Parallel()
	const blocks = 3000
	databaseURL, redisURL := harness.Database(t), harness.Redis(t)
	store, database := pipeline.Store(t, databaseURL), pipeline.Database(t, databaseURL)
	file := pipeline.Beginning(t, blocks)
	expected := pipeline.Expected(t, file, "counter")
	definitions := applyCoarse(t, store, expected, bucket.Daily, "counter")
	convert := applyLater(t, store, definitions, []string{"btc_fees"}, []string{"btc_block_size"})
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
	for _, kind := range []string{"archive", "counter"} {
		function, url := pipeline.Function(t, kind, harness.Build(t, "functions/"+kind), databaseURL, environment)
		source, _ := pipeline.Source(t, kind+" source", harness.Build(t, "events/source"), redisURL, url,
			map[string]string{"FUNCTION": kind, "SOURCE_BATCH_ENTRIES": "50"})
		start(function)
		pipeline.AwaitReady(t, url)
		start(source)
	}
	ticking, stop := context.WithCancel(t.Context())
	defer stop()
	var clock sync.WaitGroup
	clock.Go(func() {
		for ticking.Err() == nil {
			for _, size := range []bucket.Size{bucket.Daily, bucket.Weekly, bucket.Monthly} {
				_, _ = sendTick(ticking, serviceURL, "counter", size) // what is lost comes again
			}
		}
	})
	reached := func() uint64 { return pipeline.Watermark(t, database, "counter", pipeline.Stream).Minor }
	pipeline.Eventually(t, time.Minute, "a fifth is applied", func() bool { return reached() > blocks/5 })
	begin, before := time.Now(), reached()
	convert()
	if now := reached(); now == blocks {
		t.Errorf("at %d blocks metrics were to change, at %d they had", before, now)
	}
	pipeline.Eventually(t, time.Minute, "everything is applied", func() bool { return reached() == blocks })
	t.Logf("%.0f blocks per second beside the change", float64(blocks-before)/time.Since(begin).Seconds())
	stop()
	clock.Wait()
	pipeline.Eventually(t, time.Minute, "everything is archived", func() bool {
		return pipeline.Watermark(t, database, "archive", pipeline.Stream).Minor == blocks
	})
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
