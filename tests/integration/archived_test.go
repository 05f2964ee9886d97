package integration_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// archived is a system with an archive.
type archived struct {
	*system
	archive    *pipeline.Program
	archiveURL string
	programs   []*pipeline.Program
}

// newArchived makes a system with an archive, which keeps so many of a stream's newest entries. Nothing of it runs yet.
func newArchived(t *testing.T, s *system, keep string) *archived {
	t.Helper()
	a := &archived{system: s}
	a.archive, a.archiveURL = pipeline.Function(t, "archive", harness.Build(t, "functions/archive"), s.databaseURL,
		map[string]string{"REDIS_URL": s.redisURL, "ARCHIVE_KEEP": keep})
	source, _ := pipeline.Source(t, "archive source", harness.Build(t, "events/source"), s.redisURL, a.archiveURL,
		map[string]string{"FUNCTION": "archive", "SOURCE_RECHECK": "200ms"})
	s.source.Environment["SOURCE_RECHECK"] = "200ms"
	a.programs = []*pipeline.Program{a.archive, source, s.counter, s.source}
	return a
}

func (a *archived) startAll(t *testing.T) {
	t.Helper()
	for _, p := range a.programs {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	pipeline.AwaitReady(t, a.archiveURL)
	pipeline.AwaitReady(t, a.counterURL)
}

func (a *archived) killAll(t *testing.T) {
	t.Helper()
	for _, p := range a.programs {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

// await waits until both functions stand at an entry of a stream, with ticks of the archive all the while.
func (a *archived) await(t *testing.T, stream string, last events.ID) {
	t.Helper()
	pipeline.Eventually(t, 30*time.Second, "everything is applied", func() bool {
		a.tick(t)
		return pipeline.Watermark(t, a.database, "archive", stream).Compare(last) >= 0 &&
			pipeline.Watermark(t, a.database, "counter", stream).Compare(last) >= 0
	})
}

func (a *archived) tick(t *testing.T) {
	t.Helper()
	status, err := sendPing(t.Context(), a.archiveURL, map[string]string{events.ExtensionFunction: "archive"})
	if status != http.StatusNoContent || err != nil {
		t.Fatalf("tick of the archive: %d, %v", status, err)
	}
}

// first gives the id of a stream's first entry.
func (a *archived) first(t *testing.T, stream string) string {
	t.Helper()
	info, err := a.redis.XInfoStream(t.Context(), stream).Result()
	if err != nil {
		t.Fatal(err)
	}
	return info.FirstEntry.ID
}
