package integration_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// postgresProgram gives the path of a program that belongs to the server of a database.
func postgresProgram(t *testing.T, s *system, name string) string {
	t.Helper()
	var folder string
	if err := s.database.QueryRow(t.Context(), "select setting from pg_config where name = 'BINDIR'").Scan(&folder); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name)
}

// runProgram runs a program to its end.
func runProgram(t *testing.T, path string, arguments ...string) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), path, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, output)
	}
}

// backUp writes a backup as docs/operations.md says, while the system runs.
func backUp(t *testing.T, s *system) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "chainmetrics.dump")
	runProgram(t, postgresProgram(t, s, "pg_dump"), "--format=custom", "--file="+file, s.databaseURL)
	return file
}

// restore brings a backup into an empty database, as docs/operations.md says, and gives that.
func restore(t *testing.T, s *system, file string) (databaseURL string) {
	t.Helper()
	databaseURL = harness.PostgresServer(t).URL()
	database := pipeline.Database(t, databaseURL)
	if _, err := database.Exec(t.Context(), "create role chainmetrics_sql nologin"); err != nil {
		t.Fatal(err)
	}
	runProgram(t, postgresProgram(t, s, "pg_restore"), "--no-owner", "--exit-on-error", "--dbname="+databaseURL, file)
	const query = "select query_template('select 1 where ($1::timestamptz) < ($2::timestamptz)', '2024-01-01Z', '2024-01-02Z', 'bitcoin', 1)"
	if _, err := database.Exec(t.Context(), query); err == nil || !strings.Contains(err.Error(), "queries of metrics would run as") {
		t.Errorf("a query before the migration: %v", err)
	}
	if _, _, err := migration.Run(t.Context(), databaseURL); err != nil {
		t.Fatal(err)
	}
	if _, err := database.Exec(t.Context(), query); err != nil {
		t.Errorf("a query after the migration: %v", err)
	}
	return databaseURL
}

// TestFeedMendsWhatABackupLacks: the database is restored from a backup that is older than what has left the stream.
func TestFeedMendsWhatABackupLacks(t *testing.T) {
	t.Parallel()
	const before = 500
	redisURL := harness.Redis(t)
	a := newArchived(t, newSystem(t, harness.Database(t), redisURL), "25")
	a.startAll(t)
	a.feedAll(t, before)
	a.await(t, pipeline.Stream, events.ID{Minor: before})
	backup := backUp(t, a.system)
	a.feedAll(t, appliedBlocks)
	a.await(t, pipeline.Stream, events.ID{Minor: appliedBlocks})
	a.tick(t)
	if first := a.first(t, pipeline.Stream); first != "0-976" {
		t.Fatalf("the stream begins with %s", first)
	}
	a.killAll(t)

	restored := newArchived(t, newSystem(t, restore(t, a.system, backup), redisURL), "25")
	if mark := restored.watermark(t); mark != before {
		t.Fatalf("the backup's watermark is at %d blocks", mark)
	}
	restored.startAll(t)
	pipeline.Eventually(t, 20*time.Second, "the source tells of the loss", func() bool {
		log, err := restored.source.Log()
		return err == nil && strings.Contains(log, "its beginning was removed")
	})
	restored.feedAll(t, fedBlocks)
	restored.await(t, pipeline.Stream, events.ID{Minor: fedBlocks})
	restored.expectFed(t)
	if now := restored.status(t); !now.OK || len(now.Holes) > 0 {
		t.Errorf("status %+v", now)
	}
}

// TestBackupOfAnOpenStream: what the archive's ARCHIVE_KEEP entries reach back to is not lost with a database that is restored. What
// they do not reach is gone, and told.
func TestBackupOfAnOpenStream(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		keep string
		lost int // sales
	}{
		"kept":     {"1000", 0},
		"not kept": {"10", 40},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const before, meanwhile, after = 30, 50, 20
			o := newOpenSystem(t, tt.keep)
			o.startAll(t)
			o.await(t, openStream, o.sell(t.Context(), t, before, time.Millisecond))
			backup := backUp(t, o.system)
			o.await(t, openStream, o.sell(t.Context(), t, meanwhile, time.Millisecond))
			o.tick(t)
			o.killAll(t)
			left, err := o.system.redis.XLen(t.Context(), openStream).Result()
			if lost := max(meanwhile-int(left), 0); lost != tt.lost || err != nil {
				t.Fatalf("%d sales have left the stream since the backup, %v, want %d", lost, err, tt.lost)
			}

			restored := newArchived(t, newSystem(t, restore(t, o.system, backup), o.redisURL), tt.keep)
			restored.startAll(t)
			restored.await(t, openStream, o.sell(t.Context(), t, after, time.Millisecond))
			carryOut(t, restored.database, map[string]string{"counter": restored.counterURL}, "counter")
			want := 0
			for n := 1; n <= before+meanwhile+after; n++ {
				if n <= before || n > before+tt.lost {
					want += n
				}
			}
			var got int
			const sum = "select coalesce(sum(value), 0)::int from metric_buckets where metric = 'sold' and bucket_size = 'daily'"
			if err := restored.database.QueryRow(t.Context(), sum).Scan(&got); err != nil || got != want {
				t.Errorf("the sum is %d, %v, want %d", got, err, want)
			}
			var holes int
			if err := restored.database.QueryRow(t.Context(), "select count(*) from stream_holes").Scan(&holes); err != nil {
				t.Fatal(err)
			}
			if (holes > 0) != (tt.lost > 0) {
				t.Errorf("%d holes are told", holes)
			}
		})
	}
}
