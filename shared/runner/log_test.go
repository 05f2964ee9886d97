package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

// talking is a store that logs whatever is done in a run, which every second one fails.
type talking struct {
	*postgres.Store
	begun int
}

func (s *talking) BeginRebuild(
	ctx context.Context, function string, span aggregate.Span, windows []bucket.Key,
) (aggregate.Rebuild, error) {
	slog.InfoContext(ctx, "within", "step", "begin")
	if s.begun++; s.begun%2 == 0 {
		return aggregate.Rebuild{}, context.DeadlineExceeded
	}
	return s.Store.BeginRebuild(ctx, function, span, windows)
}

func (s *talking) FinishRebuild(
	ctx context.Context, rebuild aggregate.Rebuild, decide func(aggregate.Current) ([]aggregate.Bucket, error),
	tallies func() []aggregate.Tally, failures aggregate.Failures,
) error {
	slog.InfoContext(ctx, "within", "step", "finish")
	return s.Store.FinishRebuild(ctx, rebuild, decide, tallies, failures)
}

func (s *talking) EndRuns(ctx context.Context, claim runner.Claim, end runner.End) error {
	slog.InfoContext(ctx, "within", "step", "end")
	return s.Store.EndRuns(ctx, claim, end)
}

// logged is a buffer that goroutines of other tests may write to as well.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(line)
}

// TestEveryLineOfARunNamesIt is not parallel: it looks at what this process logs.
func TestEveryLineOfARunNamesIt(t *testing.T) {
	w := newWorld(t)
	w.apply(t, chain(0, 0, 200, events.ID{}))
	store := &talking{Store: w.store}
	function := runner.NewFunction(counter.Type{}, store)
	var log logged
	before := slog.Default()
	slog.SetDefault(slog.New(telemetry.NewHandler(telemetry.Config{LogFormat: "json"}, &log)))
	defer slog.SetDefault(before)
	for _, size := range []bucket.Size{bucket.Hourly, bucket.Daily} {
		tick := events.Tick{Function: "counter", BucketSize: size.String()}
		if err := function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	slog.SetDefault(before)
	within := map[string]int{}
	for line := range strings.Lines(log.String()) {
		var record struct {
			Msg, Step, Metric string
			RunID             string `json:"run_id"`
			Lease             int64
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		if record.Msg == "tick has carried out runs" {
			continue // of all of them
		}
		within[record.Msg+" "+record.Step]++
		first, _, _ := strings.Cut(record.RunID, "-")
		if n := w.text(t, "select count(*) from runs join metric_registry using (metric_id) where run_id::text = '"+first+
			"' and name = '"+record.Metric+"'"); n != "1" || record.Lease == 0 {
			t.Errorf("names no run: %s", line)
		}
	}
	for _, line := range []string{"within begin", "within finish", "within end", "runs succeeded ", "runs did not succeed "} {
		if within[line] == 0 {
			t.Errorf("no line %q, but %v", line, within)
		}
	}
}
