package chaos_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/oracle"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// tooFar is the archive that trims the entry of the lowest watermark too.
var tooFar = mutant{
	pkg: "functions/archive", file: "shared/archive/trim.go",
	edits: []edit{{"below[stream] = id", "below[stream] = id.Next()"}},
}

// TestTrimming trims a stream without pause while it is fed, and kills the archive now and then: nobody finds that an entry has
// gone which he needs. Where one too many goes it is noticed.
func TestTrimming(t *testing.T) {
	const blocks = 600
	file := pipeline.Beginning(t, blocks)
	expected := pipeline.Expected(t, file, "counter")
	for name, archive := range map[string]string{"whole": harness.Build(t, "functions/archive"), "one too far": tooFar.build(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			losses, differences := trimmed(t, archive, file, blocks, expected)
			switch {
			case name != "whole" && losses == "":
				t.Error("nobody has noticed")
			case name == "whole" && losses+differences != "":
				t.Errorf("%s\n%s", losses, differences)
			}
		})
	}
}

// trimmed gives what the programs say of losses in the end, and how the buckets differ from what is expected. It ends at the first
// loss.
func trimmed(t *testing.T, archive, file string, blocks uint64, expected map[oracle.Key]oracle.Value) (losses, differences string) {
	t.Helper()
	database, redisURL := harness.Database(t), harness.Redis(t)
	pipeline.ApplyExamples(t, pipeline.Store(t, database))
	pool, stream := pipeline.Database(t, database), pipeline.Redis(t, redisURL)
	var programs []*pipeline.Program
	var keeper *pipeline.Program
	var keeperURL string
	for kind, binary := range map[string]string{"archive": archive, "counter": harness.Build(t, "functions/counter")} {
		function, url := pipeline.Function(t, kind, binary, database, map[string]string{"REDIS_URL": redisURL, "ARCHIVE_KEEP": "0"})
		if kind == "archive" {
			keeper, keeperURL = function, url
		}
		source, _ := pipeline.Source(t, kind+" source", harness.Build(t, "events/source"), redisURL, url,
			map[string]string{"FUNCTION": kind, "SOURCE_BATCH_ENTRIES": "40", "SOURCE_RECHECK": "100ms"})
		programs = append(programs, function, source)
	}
	feed := pipeline.Feed(t, "feed", harness.Build(t, "events/feed"), database, redisURL, file,
		map[string]string{"FEED_RATE": "300", "FEED_INTERVAL": "100ms", "FOLLOW": "true"})
	programs = append(programs, feed)
	for _, p := range programs {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	trimming, stop := context.WithCancel(ctx)
	var ticks sync.WaitGroup
	for range 2 {
		ticks.Go(func() {
			for trimming.Err() == nil {
				wake(trimming, keeperURL) // what is lost comes again
				sleep(trimming, 5*time.Millisecond)
			}
		})
	}
	applied := func() uint64 {
		reached := blocks
		for _, kind := range []string{"archive", "counter"} {
			reached = min(reached, pipeline.Watermark(t, pool, kind, pipeline.Stream).Minor)
		}
		return reached
	}
	kills := uint64(0)
	_ = await(ctx, func() bool {
		reached := applied()
		if reached > (kills+1)*blocks/3 {
			kills++
			if err := keeper.Kill(); err != nil {
				t.Error(err)
			}
			if err := keeper.Start(); err != nil {
				t.Error(err)
			}
		}
		losses = told(t, programs)
		return reached == blocks || losses != ""
	})
	stop()
	ticks.Wait()
	if losses == "" {
		losses = told(t, programs)
		if reached := applied(); reached != blocks {
			t.Errorf("%d blocks are applied, want %d", reached, blocks)
		}
		if info, err := stream.XInfoStream(t.Context(), pipeline.Stream).Result(); err != nil || info.Length > int64(blocks)/2 {
			t.Errorf("%d entries are left in the stream, %v", info.Length, err)
		}
	}
	return losses, pipeline.Differences(t, pool, expected)
}

// wake sends the archive a tick.
func wake(ctx context.Context, url string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return
	}
	for name, value := range map[string]string{
		"specversion": "1.0", "type": events.TypePing, "id": "1", "source": "/test", events.ExtensionFunction: "archive",
	} {
		request.Header.Set("ce-"+name, value)
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		_ = response.Body.Close()
	}
}

// told gives the lines of logs that tell of a loss.
func told(t *testing.T, programs []*pipeline.Program) string {
	t.Helper()
	var lines strings.Builder
	for _, p := range programs {
		log, err := p.Log()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(log) {
			if strings.Contains(line, "lost entries") {
				lines.WriteString(p.Name + ": " + line)
			}
		}
	}
	return lines.String()
}
