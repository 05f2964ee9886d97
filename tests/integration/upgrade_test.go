//go:build release

package integration_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestUpgradeInTheMiddleOfALoad: programs of the release before, or of the last commit with an older schema, work on this
// schema, and those of today go on from their states while they still run.
func TestUpgradeInTheMiddleOfALoad(t *testing.T) {
	t.Parallel()
	commit := strings.TrimSpace(script(t, "scripts/previous"))
	folder := t.TempDir()
	script(t, "scripts/at", commit, "go", "build", "-o", folder+"/", "./functions/counter", "./events/source", "./events/feed")
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	counter, counterURL := pipeline.Function(t, "older counter", filepath.Join(folder, "counter"), s.databaseURL, nil)
	source, _ := pipeline.Source(t, "older source", filepath.Join(folder, "source"), s.redisURL, counterURL, nil)
	feed := pipeline.Feed(t, "older feed", filepath.Join(folder, "feed"), s.databaseURL, s.redisURL, pipeline.Beginning(t, fedBlocks/2), nil)
	for _, p := range []*pipeline.Program{counter, source, feed} {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	pipeline.AwaitReady(t, counterURL)
	s.awaitApplied(t, fedBlocks/4)

	s.start(t) // the standby source, until the older one ends
	if !counter.Running() || !source.Running() {
		t.Fatal("the older programs have ended beside the newer ones")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := feed.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	s.feedAll(t, fedBlocks)
	if err := source.Kill(); err != nil {
		t.Fatal(err)
	}
	s.awaitApplied(t, fedBlocks)
	s.expectFed(t)
}

// script runs a command in the repository's root and gives what it prints.
func script(t *testing.T, name string, args ...string) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, name), args...)
	cmd.Dir = root
	var complaints strings.Builder
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, complaints.String())
	}
	return string(output)
}
