package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
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

// TestNoticesOutliveTheScheduler, which is killed between sending and noting that, or stopped there until another has sent what it
// had claimed: each arrives, under one id.
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
		if total++; total == 300 || total == 900 || total == 1100 {
			deadly <- struct{}{} // until it is dead, or stands still, nothing more is taken
			<-deadly
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer broker.Close()
	schedulers, urls := make([]*pipeline.Program, 2), make([]string, 2)
	for i := range schedulers {
		schedulers[i], urls[i] = pipeline.Function(t, fmt.Sprintf("scheduler %d", i+1), harness.Build(t, "functions/scheduler"), databaseURL,
			map[string]string{"K_SINK": broker.URL})
	}
	begin := func(i int) (swept chan int) {
		t.Helper()
		if err := schedulers[i].Start(); err != nil {
			t.Fatal(err)
		}
		pipeline.AwaitReady(t, urls[i])
		swept = make(chan int, 1)
		go func() {
			status, _ := sweep(t.Context(), urls[i]) // it may die
			swept <- status
		}()
		return swept
	}
	runOut := func() {
		t.Helper()
		if _, err := database.Exec(t.Context(), "update outbox set leased_until = now() - interval '1 s'"); err != nil {
			t.Fatal(err)
		}
	}
	settled := func() (text string) {
		t.Helper()
		const query = `select count(*) filter (where sent_at is null) || ' left, sent ' || max(sent_at) || coalesce(max(error), '') from outbox`
		if err := database.QueryRow(t.Context(), query).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	for range 2 {
		swept := begin(0)
		<-deadly
		if err := schedulers[0].Kill(); err != nil {
			t.Fatal(err)
		}
		deadly <- struct{}{}
		<-swept
		runOut()
	}
	stopped := begin(0)
	<-deadly
	if err := schedulers[0].Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	deadly <- struct{}{}
	runOut()
	if status := <-begin(1); status != http.StatusNoContent {
		t.Fatalf("a second scheduler answers %d", status)
	}
	before := settled()
	if err := schedulers[0].Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if status := <-stopped; status != http.StatusNoContent {
		t.Fatalf("one that stood still answers %d", status)
	}
	if after := settled(); after != before || !strings.HasPrefix(after, "0 left") {
		t.Errorf("%s, after one went on that had stood still %s", before, after)
	}
	mu.Lock()
	defer mu.Unlock()
	for subject, ids := range subjects {
		if len(ids) != 1 {
			t.Errorf("%s has come under the ids %v", subject, ids)
		}
	}
	if len(subjects) != notices || total <= notices {
		t.Errorf("%d of %d have come, %d times in all", len(subjects), notices, total)
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
