package integration_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// sweep sends a scheduler its tick, and gives the answer's status.
func sweep(ctx context.Context, url string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	for name, value := range map[string]string{
		"specversion": "1.0", "type": events.TypePing, "id": "1", "source": "/test", events.ExtensionFunction: "scheduler",
	} {
		request.Header.Set("ce-"+name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// TestNoticesOutliveTheScheduler, which is killed between sending and noting that: each arrives, under one id.
func TestNoticesOutliveTheScheduler(t *testing.T) {
	t.Parallel()
	const notices = 1200
	databaseURL := harness.Database(t)
	database := pipeline.Database(t, databaseURL)
	const write = `insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, details)
		select 'dev.chainmetrics.bucket.revised.v1', 'gas', 'counter', 'small', 'hourly',
			timestamptz '2009-01-01Z' + n * interval '1 h', 'bitcoin', '{"reason": "late"}'
		from generate_series(1, $1) n`
	if _, err := database.Exec(t.Context(), write, notices); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	subjects := map[string]map[string]int{} // how often each id has come, by subject
	total := 0
	deadly := make(chan struct{})
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		subject := r.Header.Get("ce-subject")
		if subjects[subject] == nil {
			subjects[subject] = map[string]int{}
		}
		subjects[subject][r.Header.Get("ce-id")]++
		if total++; total == 300 || total == 900 {
			deadly <- struct{}{} // until it is dead nothing more is taken
			<-deadly
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer broker.Close()
	program, url := pipeline.Function(t, "scheduler", harness.Build(t, "functions/scheduler"), databaseURL,
		map[string]string{"K_SINK": broker.URL})
	for range 2 {
		if err := program.Start(); err != nil {
			t.Fatal(err)
		}
		pipeline.AwaitReady(t, url)
		swept := make(chan struct{})
		go func() {
			defer close(swept)
			_, _ = sweep(t.Context(), url) // it dies
		}()
		<-deadly
		if err := program.Kill(); err != nil {
			t.Fatal(err)
		}
		deadly <- struct{}{}
		<-swept
		if _, err := database.Exec(t.Context(), "update outbox set leased_until = now() - interval '1 s'"); err != nil {
			t.Fatal(err)
		}
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	pipeline.AwaitReady(t, url)
	if status, err := sweep(t.Context(), url); status != http.StatusNoContent || err != nil {
		t.Fatalf("%d, %v", status, err)
	}
	var left int
	if err := database.QueryRow(t.Context(), "select count(*) from outbox where sent_at is null").Scan(&left); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for subject, ids := range subjects {
		if len(ids) != 1 {
			t.Errorf("%s has come under the ids %v", subject, ids)
		}
	}
	if left > 0 || len(subjects) != notices || total <= notices {
		t.Errorf("%d are left, %d of %d have come, %d times in all", left, len(subjects), notices, total)
	}
}

// TestSchedulerNeedsABroker: without one it ends at once, and says why.
func TestSchedulerNeedsABroker(t *testing.T) {
	t.Parallel()
	program, _ := pipeline.Function(t, "scheduler", harness.Build(t, "functions/scheduler"), harness.Database(t), nil)
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := program.Wait(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("without K_SINK it ends with %v", err)
	}
}
