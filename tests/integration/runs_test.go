package integration_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/oracle"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// sendTick sends a function what a PingSource sends, and gives the answer's status.
func sendTick(ctx context.Context, url, function string, size bucket.Size) (int, error) {
	return sendPing(ctx, url, map[string]string{
		events.ExtensionMetricType: function, events.ExtensionBucketSize: size.String(),
	})
}

func sendPing(ctx context.Context, url string, extensions map[string]string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	extensions["specversion"], extensions["type"], extensions["id"], extensions["source"] = "1.0", events.TypePing, "1", "/test"
	for name, value := range extensions {
		request.Header.Set("ce-"+name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// finals reads the values of all buckets of final windows.
func finals(t *testing.T, database *pgxpool.Pool) map[string]string {
	t.Helper()
	rows, err := database.Query(t.Context(), `select metric || ' ' || bucket_size || ' ' || bucket_start || ' ' || dimensions,
			value || ' ' || coalesce(value_json::text, '')
		from metric_buckets where final`)
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

// applyCoarse puts the example metrics into the registry without sizes below the finest, whose windows are many, and takes those from
// what is expected; where metric types are named, only theirs. It gives the definitions.
func applyCoarse(
	t *testing.T, store *postgres.Store, expected map[oracle.Key]oracle.Value, finest bucket.Size, kinds ...string,
) []metric.Definition {
	t.Helper()
	definitions := pipeline.ApplyExamples(t, store)
	coarse := definitions[:0:0]
	for _, d := range definitions {
		d.BucketSizes = slices.DeleteFunc(slices.Clone(d.BucketSizes), func(s bucket.Size) bool { return s < finest })
		if len(d.BucketSizes) == 0 || len(kinds) > 0 && !slices.Contains(kinds, d.Type) {
			if _, err := store.DeleteMetric(t.Context(), d.Name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		coarse = append(coarse, d)
	}
	if _, err := store.ApplyMetrics(t.Context(), coarse); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(expected, func(key oracle.Key, _ oracle.Value) bool {
		size, err := bucket.ParseSize(key.Size)
		return err != nil || size < finest
	})
	return coarse
}

// applyLater takes the newcomers out of the registry, and gives the converts another calculation. What it gives brings all to what
// they are to be.
func applyLater(
	t *testing.T, store *postgres.Store, definitions []metric.Definition, newcomers, converts []string,
) (convert func()) {
	t.Helper()
	var later, otherwise []metric.Definition
	for _, d := range definitions {
		switch {
		case slices.Contains(newcomers, d.Name):
			if _, err := store.DeleteMetric(t.Context(), d.Name); err != nil {
				t.Fatal(err)
			}
			later = append(later, d)
		case slices.Contains(converts, d.Name):
			later = append(later, d)
			stream := *d.Calculation.Stream
			stream.Scale += 3
			d.Calculation.Stream = &stream
			otherwise = append(otherwise, d)
		}
	}
	apply := func(definitions []metric.Definition) {
		t.Helper()
		if _, err := store.ApplyMetrics(t.Context(), definitions); err != nil {
			t.Fatal(err)
		}
	}
	apply(otherwise)
	if len(later) != len(newcomers)+len(converts) {
		t.Fatalf("%d metrics come later", len(later))
	}
	return func() { apply(later) }
}

// lossyBroker hands what the scheduler asks for to the functions, but for one request of five.
func lossyBroker(t *testing.T, urls map[string]string) (url string) {
	t.Helper()
	var received atomic.Int64
	var handing sync.WaitGroup
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("ce-type") == events.TypeRunRequested && received.Add(1)%5 != 0 {
			ctx := context.WithoutCancel(r.Context())
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			handing.Go(func() {
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, urls[r.Header.Get("ce-metrictype")],
					bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header = r.Header.Clone()
				if response, err := http.DefaultClient.Do(request); err == nil { // it may be dead
					_ = response.Body.Close()
				}
			})
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(func() { broker.Close(); handing.Wait() })
	return broker.URL
}

// carryOut sends ticks until no run is queued.
func carryOut(t *testing.T, database *pgxpool.Pool, urls map[string]string, kinds ...string) {
	t.Helper()
	for queued := true; queued; {
		for _, kind := range kinds {
			for _, size := range bucket.Sizes() {
				if status, err := sendTick(t.Context(), urls[kind], kind, size); status != http.StatusNoContent || err != nil {
					t.Fatalf("tick of %s %s: %d, %v", kind, size, status, err)
				}
			}
		}
		// What was given back waits a while.
		tag, err := database.Exec(t.Context(), "update runs set not_before = now() where state = 'queued'")
		if err != nil {
			t.Fatal(err)
		}
		queued = tag.RowsAffected() > 0
	}
}

var tickedFlag = flag.Int("ticked", 420, "blocks of the sample chain, which has 14132, that are fed while ticks come")

// TestTicksMakeWindowsFinal feeds blocks while ticks come, some of them doubled, requests of the scheduler, some of which are lost,
// new metrics and others of another calculation, and while functions, the archive and the scheduler are killed, or stopped until
// their leases have run out. In the end every window that is due is final, without a change that nothing explains.
func TestTicksMakeWindowsFinal(t *testing.T) {
	t.Parallel()
	blocks := *tickedFlag
	databaseURL, redisURL := harness.Database(t), harness.Redis(t)
	store, database := pipeline.Store(t, databaseURL), pipeline.Database(t, databaseURL)
	expected := pipeline.Expected(t, pipeline.Beginning(t, blocks))
	// Of each metric type.
	newcomers := []string{"btc_fees", "btc_difficulty", "btc_block_interval"}
	converts := []string{"btc_block_size", "btc_largest_block", "btc_output_value_spread"}
	convert := applyLater(t, store, applyCoarse(t, store, expected, bucket.Hourly), newcomers, converts)
	environment := map[string]string{"DELIVERY_TIMEOUT": "100s", "REDIS_URL": redisURL}
	kinds := []string{"archive"}
	for _, kind := range functions.Types {
		kinds = append(kinds, kind.Definitions().Name)
	}
	programs, urls := map[string]*pipeline.Program{}, map[string]string{}
	start := func(p *pipeline.Program) {
		t.Helper()
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range kinds {
		programs[kind], urls[kind] = pipeline.Function(t, kind, harness.Build(t, "functions/"+kind), databaseURL, environment)
		source, _ := pipeline.Source(t, kind+" source", harness.Build(t, "events/source"), redisURL, urls[kind],
			map[string]string{"FUNCTION": kind})
		start(programs[kind])
		start(source)
	}
	programs["scheduler"], urls["scheduler"] = pipeline.Function(t, "scheduler", harness.Build(t, "functions/scheduler"), databaseURL,
		map[string]string{"K_SINK": lossyBroker(t, urls)})
	start(programs["scheduler"])
	rate := map[string]string{"FEED_RATE": strconv.Itoa(max(100, blocks/60))} // so that something happens meanwhile
	start(pipeline.Feed(t, "feed", harness.Build(t, "events/feed"), databaseURL, redisURL, pipeline.Beginning(t, blocks), rate))
	reached := func(kind string, height uint64) bool {
		return pipeline.Watermark(t, database, kind, pipeline.Stream).Minor >= height
	}
	ticking, stop := context.WithCancel(t.Context())
	defer stop()
	var clocks sync.WaitGroup
	for _, kind := range kinds[1:] {
		for range 2 { // doubled
			clocks.Go(func() {
				for ticking.Err() == nil {
					for _, size := range bucket.Sizes() {
						_, _ = sendTick(ticking, urls[kind], kind, size) // what is lost comes again
					}
					time.Sleep(300 * time.Millisecond)
				}
			})
		}
	}
	clocks.Go(func() {
		for ticking.Err() == nil {
			_, _ = sweep(ticking, urls["scheduler"])
			time.Sleep(300 * time.Millisecond)
		}
	})
	const expire = `update runs set lease_until = now() - interval '1 s' where run_id in (
		select run_id from runs where state = 'running' for update skip locked)` // whose rows others have may be about to end
	var seen []map[string]string
	for step, kind := range []string{"archive", "counter", "gauge", "archive", "histogram"} {
		height := uint64((step + 1) * blocks / 7)
		pipeline.Eventually(t, 3*time.Minute, fmt.Sprintf("%s has %d blocks", kind, height), func() bool { return reached(kind, height) })
		if step == 4 { // what is final by then, the last kills and what follows could spoil
			pipeline.Eventually(t, 3*time.Minute, "windows are final half-way", func() bool { return len(finals(t, database)) > 0 })
		}
		seen = append(seen, finals(t, database))
		if step == 2 {
			convert()
		}
		for _, doomed := range []string{kind, "scheduler"} {
			if err := programs[doomed].Kill(); err != nil {
				t.Fatal(err)
			}
		}
		stopped := programs[kinds[1+step%3]]
		if stopped != programs[kind] {
			if err := stopped.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(300 * time.Millisecond)
		if _, err := database.Exec(t.Context(), expire); err != nil {
			t.Fatal(err)
		}
		start(programs[kind])
		start(programs["scheduler"])
		pipeline.AwaitReady(t, urls[kind])
		pipeline.AwaitReady(t, urls["scheduler"])
		if stopped != programs[kind] {
			if err := stopped.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, kind := range kinds {
		pipeline.Eventually(t, 3*time.Minute, kind+" has everything", func() bool { return reached(kind, uint64(blocks)) })
	}
	stop()
	clocks.Wait()
	// What killed functions had begun is begun again when its lease has run out.
	if _, err := database.Exec(t.Context(), expire); err != nil {
		t.Fatal(err)
	}
	carryOut(t, database, urls, kinds[1:]...)

	if diff := pipeline.Differences(t, database, expected); diff != "" {
		t.Error(diff)
	}
	last := finals(t, database)
	for step, before := range seen {
		for key, value := range before {
			if name, _, _ := strings.Cut(key, " "); last[key] != value && !slices.Contains(converts, name) {
				t.Errorf("step %d: %s was final with %s, is now %q", step, key, value, last[key])
			}
		}
	}
	for query, want := range map[string]string{
		// The low-water time of every function is the median time of the last block.
		`select count(distinct low_water) from stream_watermarks`:                                                              "1",
		`select count(*) from metric_buckets where not final and bucket_end <= (select min(low_water) from stream_watermarks)`: "0",
		`select count(*) from metric_buckets where final and bucket_end > (select min(low_water) from stream_watermarks)`:      "0",
		// One that another took the place of while its process stood still counts for nothing.
		`select count(*) from (
			select distinct on (metric_id, bucket_size, bucket_start, chain) state from runs
			order by metric_id, bucket_size, bucket_start, chain, run_id desc
		) newest where state <> 'succeeded'`: "0",
		`select count(*) - count(distinct (metric_id, bucket_size, bucket_start, chain))
			from runs where state = 'succeeded' and reason = 'due'`: "0",
		`select sum(changes) from runs where reason <> 'history'`: "0",
		`select string_agg(distinct reason, ' ') from runs`:       "due history",
		`select count(*) from pending_ranges`:                     "0",
		`select count(*) from windows where cut is not null`:      "0",
		// Others are told of each final window once, and of nothing that should not be.
		`select count(*) from outbox where type ~ 'revised|drifted|failed'`: "0",
		`select count(*) - count(distinct (metric, bucket_size, bucket_start, chain, details ->> 'definition_version'))
			from outbox where type ~ 'finalized'`: "0",
		`select (select count(distinct (metric, bucket_size, bucket_start, chain)) from outbox where type ~ 'finalized') -
			(select count(*) from windows where final)`: "0",
		`select count(*) from metrics_data where next_generation is not null`: "0",
	} {
		var got string
		if err := database.QueryRow(t.Context(), "select ("+query+")::text").Scan(&got); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	t.Logf("buckets: %d are final, %d were half-way", len(last), len(seen[4]))
}
