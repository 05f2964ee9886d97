package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// system is a function with its source, as processes, and the servers that they use.
type system struct {
	databaseURL, redisURL string
	database              *pgxpool.Pool
	redis                 *redis.Client
	counter, source       *pipeline.Program
	sourceURL             string
	counterURL            string
}

// newSystem makes a system with the example metrics. Nothing of it runs yet but the servers.
func newSystem(t *testing.T, databaseURL, redisURL string) *system {
	t.Helper()
	pipeline.ApplyExamples(t, pipeline.Store(t, databaseURL))
	s := &system{
		databaseURL: databaseURL, redisURL: redisURL,
		database: pipeline.Database(t, databaseURL), redis: pipeline.Redis(t, redisURL),
	}
	s.counter, s.counterURL = pipeline.Function(t, "counter", harness.Build(t, "functions/counter"), databaseURL, nil)
	s.source, s.sourceURL = pipeline.Source(t, "source", harness.Build(t, "events/source"), redisURL, s.counterURL, nil)
	return s
}

// start starts the function and its source.
func (s *system) start(t *testing.T) {
	t.Helper()
	for _, p := range []*pipeline.Program{s.counter, s.source} {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	pipeline.AwaitReady(t, s.counterURL)
}

// feed makes a feed of the first blocks of the sample chain. It ends when it has fed them.
func (s *system) feed(t *testing.T, blocks int, environment map[string]string) *pipeline.Program {
	t.Helper()
	name := fmt.Sprintf("feed of %d blocks", blocks)
	return pipeline.Feed(t, name, harness.Build(t, "events/feed"), s.databaseURL, s.redisURL, pipeline.Beginning(t, blocks), environment)
}

// feedAll runs a feed to its end.
func (s *system) feedAll(t *testing.T, blocks int) {
	t.Helper()
	feed := s.feed(t, blocks, nil)
	if err := feed.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := feed.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// watermark gives the number of blocks applied.
func (s *system) watermark(t *testing.T) uint64 {
	t.Helper()
	return pipeline.Watermark(t, s.database, "counter", pipeline.Stream).Minor
}

// awaitApplied waits until a number of blocks is applied.
func (s *system) awaitApplied(t *testing.T, blocks uint64) {
	t.Helper()
	pipeline.Eventually(t, 30*time.Second, fmt.Sprintf("%d blocks are applied", blocks), func() bool {
		return s.watermark(t) >= blocks
	})
}

// expectFed compares all buckets with those of the blocks that were fed.
func (s *system) expectFed(t *testing.T) {
	t.Helper()
	if mark := s.watermark(t); mark != fedBlocks {
		t.Errorf("watermark at %d blocks, want %d", mark, fedBlocks)
	}
	if diff := pipeline.Differences(t, s.database, pipeline.Expected(t, pipeline.Beginning(t, fedBlocks), "counter")); diff != "" {
		t.Error(diff)
	}
}

// command runs chainmetrics with the system's servers, and gives what it prints.
func (s *system) command(t *testing.T, arguments ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Build(t, "cmd/chainmetrics"), arguments...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"POSTGRES_URL=" + s.databaseURL, "REDIS_URL=" + s.redisURL, "HOME=" + cmd.Dir}
	printed, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	return string(printed), err
}

// status is what chainmetrics status tells, as far as these tests want it.
type status struct {
	OK        bool `json:"ok"`
	Functions []struct {
		Stream string `json:"stream"`
		Loss   string `json:"loss"`
	} `json:"functions"`
	DeadLetters int64 `json:"dead_letters"`
	Holes       []struct {
		After, Next, Reason string
	} `json:"holes"`
}

func (s *system) status(t *testing.T) (now status) {
	t.Helper()
	output, err := s.command(t, "status", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(output), &now); err != nil {
		t.Fatalf("%v in\n%s", err, output)
	}
	return now
}
