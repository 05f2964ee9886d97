package bench_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// BenchmarkBeside measures entries per second of the counter, from a full stream to committed buckets, while a run Service computes
// windows of all its metrics from the archive without pause, next to the same without. All share the machine.
func BenchmarkBeside(b *testing.B) {
	bed := flatBed(b, "counter", flatCounters, flatEntries)
	bed.archive(b)
	service, url := pipeline.Function(b, "run Service", harness.Build(b, "functions/counter"), bed.databaseURL,
		map[string]string{"GOGC": memory["GOGC"], "DELIVERY_TIMEOUT": "100s"})
	if err := service.Start(); err != nil {
		b.Fatal(err)
	}
	pipeline.AwaitReady(b, url)
	store := pipeline.Store(b, bed.databaseURL)
	for range b.N {
		var alone, beside, rebuilt []float64
		for range rounds {
			alone = append(alone, bed.deliver(b, count, bed.entries))
			bed.check(b)
			begin, stop := time.Now(), bed.rebuild(b, store, url)
			beside = append(beside, bed.deliver(b, count, bed.entries))
			observations := bed.count(b, "select coalesce(sum(observations), 0) from runs where state = 'succeeded'")
			rebuilt = append(rebuilt, float64(observations)/time.Since(begin).Seconds())
			stop()
			bed.check(b)
			if observations == 0 {
				b.Error("nothing was computed beside the stream")
			}
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(alone), "entries/s")
		b.ReportMetric(median(beside), "beside/s")
		b.ReportMetric(median(rebuilt), "rebuilt/s")
		b.ReportMetric(median(beside)/median(alone), "of-alone")
	}
}

// archive lets the archive have the whole stream.
func (bed *bed) archive(b *testing.B) {
	b.Helper()
	function, url := pipeline.Function(b, "archive", harness.Build(b, "functions/archive"), bed.databaseURL,
		map[string]string{"GOGC": memory["GOGC"], "REDIS_URL": bed.redisURL})
	if err := function.Start(); err != nil {
		b.Fatal(err)
	}
	pipeline.AwaitReady(b, url)
	keeper := *bed
	keeper.kind, keeper.functionURL = "archive", url
	keeper.deliver(b, count, bed.entries)
	if err := function.Kill(); err != nil {
		b.Fatal(err)
	}
}

// rebuild has a run Service compute all windows of all metrics, again and again, until stop is called.
func (bed *bed) rebuild(b *testing.B, store *postgres.Store, url string) (stop func()) {
	b.Helper()
	metrics, err := store.Metrics(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var going sync.WaitGroup
	day := time.Date(2024, 1, 5, 0, 0, 0, 0, time.UTC)
	going.Go(func() {
		for ctx.Err() == nil {
			for _, m := range metrics {
				for _, size := range m.Definition.BucketSizes {
					if _, err := store.RequestRuns(ctx, m, size, day, day.Add(24*time.Hour)); err != nil && ctx.Err() == nil {
						b.Error(err)
					}
				}
			}
			for _, size := range []bucket.Size{bucket.Hourly, bucket.Daily, bucket.Weekly} {
				if err := bed.tick(ctx, url, size); err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			}
		}
	})
	return func() {
		cancel()
		going.Wait()
	}
}

// tick has a function carry out what is queued of a size.
func (bed *bed) tick(ctx context.Context, url string, size bucket.Size) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"specversion": "1.0", "type": events.TypePing, "id": "1", "source": "/bench",
		events.ExtensionMetricType: bed.kind, events.ExtensionBucketSize: size.String(),
	} {
		request.Header.Set("ce-"+name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusNoContent {
		err = fmt.Errorf("tick of %s: answered %d", size, response.StatusCode)
	}
	return errors.Join(err, response.Body.Close())
}
