package integration_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestGaugeIsAwayForDays, in which the stream is trimmed. Then it comes back, and has every value that it would have had, all of
// them final that are due.
func TestGaugeIsAwayForDays(t *testing.T) {
	t.Parallel()
	const before, meanwhile, after, keep = 100, 400, 450, "25"
	databaseURL, redisURL := harness.Database(t), harness.Redis(t)
	store, database, stream := pipeline.Store(t, databaseURL), pipeline.Database(t, databaseURL), pipeline.Redis(t, redisURL)
	expected := pipeline.Expected(t, pipeline.Beginning(t, after), "gauge")
	applyCoarse(t, store, expected, bucket.Hourly)
	programs, sources, urls := map[string]*pipeline.Program{}, map[string]*pipeline.Program{}, map[string]string{}
	start := func(kind string) {
		t.Helper()
		for _, p := range []*pipeline.Program{programs[kind], sources[kind]} {
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
		}
		pipeline.AwaitReady(t, urls[kind])
	}
	for _, kind := range []string{"archive", "gauge"} {
		programs[kind], urls[kind] = pipeline.Function(t, kind, harness.Build(t, "functions/"+kind), databaseURL, map[string]string{
			"REDIS_URL": redisURL, "ARCHIVE_KEEP": keep, "ARCHIVE_MAX_LAG": "250", "DELIVERY_TIMEOUT": "100s",
		})
		sources[kind], _ = pipeline.Source(t, kind+" source", harness.Build(t, "events/source"), redisURL, urls[kind],
			map[string]string{"FUNCTION": kind})
		start(kind)
	}
	feed := func(blocks int, kinds ...string) {
		t.Helper()
		feed := pipeline.Feed(t, "feed", harness.Build(t, "events/feed"), databaseURL, redisURL, pipeline.Beginning(t, blocks), nil)
		if err := feed.Start(); err != nil {
			t.Fatal(err)
		}
		if err := feed.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if log, err := feed.Log(); err != nil || strings.Contains(log, "feeding it again") {
			t.Errorf("the feed finds a loss, %v:\n%s", err, log)
		}
		for _, kind := range kinds {
			pipeline.Eventually(t, time.Minute, kind+" has everything", func() bool {
				return pipeline.Watermark(t, database, kind, pipeline.Stream).Minor == uint64(blocks)
			})
		}
	}
	trim := func(first string) {
		t.Helper()
		status, err := sendPing(t.Context(), urls["archive"], map[string]string{events.ExtensionFunction: "archive"})
		if status != http.StatusNoContent || err != nil {
			t.Fatalf("tick of the archive: %d, %v", status, err)
		}
		info, err := stream.XInfoStream(t.Context(), pipeline.Stream).Result()
		if err != nil || info.FirstEntry.ID != first {
			t.Errorf("the stream begins with %s, %v, want %s", info.FirstEntry.ID, err, first)
		}
	}

	feed(before, "archive", "gauge")
	carryOut(t, database, urls, "gauge")
	trim("0-76") // all but 25
	for _, p := range []*pipeline.Program{programs["gauge"], sources["gauge"]} {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	feed(before+250, "archive")
	trim("0-100") // it is as far behind as it may be
	feed(meanwhile, "archive")
	trim("0-376")
	start("gauge")
	feed(after, "archive", "gauge")
	trim("0-426")
	carryOut(t, database, urls, "gauge")

	if diff := pipeline.Differences(t, database, expected); diff != "" {
		t.Error(diff)
	}
	for query, want := range map[string]string{
		`select count(*) from metric_buckets where not final and bucket_end <= (select min(low_water) from stream_watermarks)`: "0",
		`select count(*) from metric_buckets where final and bucket_end > (select min(low_water) from stream_watermarks)`:      "0",
		`select count(*) from runs where state <> 'succeeded'`:                                                                 "0",
		`select count(*) from pending_ranges`:                                                                                  "0",
		`select count(*) from stream_holes`:                                                                                    "0",
	} {
		var got string
		if err := database.QueryRow(t.Context(), "select ("+query+")::text").Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", query, got, err, want)
		}
	}
	for kind, source := range sources {
		if log, err := source.Log(); err != nil || strings.Contains(log, "lost entries") {
			t.Errorf("the source of %s finds a loss, %v:\n%s", kind, err, log)
		}
	}
}
