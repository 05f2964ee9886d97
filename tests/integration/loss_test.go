package integration_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/shared/devserver"
	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// Of the blocks that these tests feed, the first appliedBlocks are applied before something is lost.
const (
	olderBlocks   = 500
	appliedBlocks = 1000
	fedBlocks     = 2000
)

// losses are what others do to a stream. Each is given a copy of the stream as it was at olderBlocks.
var losses = map[string]struct {
	inflict    func(ctx context.Context, client *redis.Client, older string) error
	reason     string // as the source and status tell it
	acceptable bool   // something lies behind the loss
	lost       uint64 // blocks, where it is accepted
}{
	"trimmed above the watermark": {
		func(ctx context.Context, client *redis.Client, _ string) error {
			return client.XTrimMinID(ctx, pipeline.Stream, "0-1501").Err()
		}, "its beginning was removed", true, 500,
	},
	"deleted": {
		func(ctx context.Context, client *redis.Client, _ string) error {
			return client.Del(ctx, pipeline.Stream).Err()
		}, "does not exist", false, 0,
	},
	"emptied": {
		func(ctx context.Context, client *redis.Client, _ string) error {
			return client.XTrimMaxLen(ctx, pipeline.Stream, 0).Err()
		}, "all its entries were removed", false, 0,
	},
	"rolled back": {
		func(ctx context.Context, client *redis.Client, older string) error {
			return client.RestoreReplace(ctx, pipeline.Stream, 0, older).Err()
		}, "rolled back", false, 0,
	},
	"one entry deleted in the middle": {
		func(ctx context.Context, client *redis.Client, _ string) error {
			return client.XDel(ctx, pipeline.Stream, "0-1500").Err()
		}, "0-1500 was deleted", true, 1,
	},
	"the watermark's own entry deleted": {
		func(ctx context.Context, client *redis.Client, _ string) error {
			return client.XDel(ctx, pipeline.Stream, "0-1000").Err()
		}, "0-1000 was deleted", true, 0,
	},
	"the next entry deleted, and trimmed to it": {
		func(ctx context.Context, client *redis.Client, _ string) error {
			err := client.XDel(ctx, pipeline.Stream, "0-1001").Err()
			if err == nil {
				err = client.XTrimMinID(ctx, pipeline.Stream, "0-1000").Err()
			}
			return err
		}, "0-1001 was deleted", true, 1,
	},
}

// loseEntries gives a system that has applied a part of its stream, which then lost entries, so that the source has to
// find out by itself. It does, and delivers nothing.
func loseEntries(t *testing.T, name string) *system {
	t.Helper()
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	s.start(t)
	s.feedAll(t, olderBlocks)
	older, err := s.redis.Dump(t.Context(), pipeline.Stream).Result()
	if err != nil {
		t.Fatal(err)
	}
	s.feedAll(t, appliedBlocks)
	s.awaitApplied(t, appliedBlocks)
	if err := s.source.Kill(); err != nil {
		t.Fatal(err)
	}
	s.feedAll(t, fedBlocks)
	if err := losses[name].inflict(t.Context(), s.redis, older); err != nil {
		t.Fatal(err)
	}
	if err := s.source.Start(); err != nil {
		t.Fatal(err)
	}
	s.awaitLoss(t, losses[name].reason)
	return s
}

// awaitLoss waits until the source tells of a loss, then sees that nothing is delivered, and that status tells of it too.
func (s *system) awaitLoss(t *testing.T, reason string) {
	t.Helper()
	pipeline.Eventually(t, 20*time.Second, "the source tells: "+reason, func() bool {
		log, err := s.source.Log()
		return err == nil && strings.Contains(log, reason)
	})
	if lost := pipeline.Metric(t, s.sourceURL, "chainmetrics_source_stream_lost"); lost != "1" {
		t.Errorf("the source's metric of losses is %q, want 1", lost)
	}
	now := s.status(t)
	if now.OK || len(now.Functions) != 1 || !strings.Contains(now.Functions[0].Loss, reason) {
		t.Errorf("status %+v, want a loss: %s", now, reason)
	}
	if mark := s.watermark(t); mark != appliedBlocks {
		t.Fatalf("watermark at %d blocks, want %d: something was delivered beyond the loss", mark, appliedBlocks)
	}
}

func TestLossIsHealedByTheFeed(t *testing.T) {
	t.Parallel()
	for name := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := loseEntries(t, name)
			s.feedAll(t, fedBlocks)
			s.awaitApplied(t, fedBlocks)
			s.expectFed(t)
			if now := s.status(t); !now.OK || len(now.Holes) > 0 {
				t.Errorf("status %+v after healing", now)
			}
		})
	}
}

func TestLossIsAccepted(t *testing.T) {
	t.Parallel()
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := loseEntries(t, name)
			output, err := s.command(t, "stream", "accept", pipeline.Stream, "--yes", "--reason", "the disk failed")
			if !loss.acceptable {
				if err == nil {
					t.Fatalf("accepted, although nothing lies behind the loss:\n%s", output)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s.awaitApplied(t, fedBlocks)
			if counted, want := s.countedBlocks(t), fedBlocks-loss.lost; counted != want {
				t.Errorf("%d blocks in the buckets, want %d", counted, want)
			}
			if now := s.status(t); !now.OK || len(now.Holes) != 1 || now.Holes[0].Reason != "the disk failed" {
				t.Errorf("status %+v, want one hole and nothing else", now)
			}
			s.feedAll(t, fedBlocks+100) // neither feed nor source stumble over the hole again
			s.awaitApplied(t, fedBlocks+100)
			if counted, want := s.countedBlocks(t), fedBlocks+100-loss.lost; counted != want {
				t.Errorf("%d blocks in the buckets, want %d", counted, want)
			}
		})
	}
}

// TestAcceptWithoutLoss sees that a stream that is whole stays as it is.
func TestAcceptWithoutLoss(t *testing.T) {
	t.Parallel()
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	s.start(t)
	s.feedAll(t, olderBlocks)
	s.awaitApplied(t, olderBlocks)
	if output, err := s.command(t, "stream", "accept", pipeline.Stream, "--yes"); err == nil {
		t.Errorf("accepted a loss where there is none:\n%s", output)
	}
	if now := s.status(t); !now.OK || len(now.Holes) > 0 {
		t.Errorf("status %+v", now)
	}
}

// TestLossWhileWaiting loses the stream while the source waits at its end.
func TestLossWhileWaiting(t *testing.T) {
	t.Parallel()
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	s.start(t)
	s.feedAll(t, appliedBlocks)
	s.awaitApplied(t, appliedBlocks)
	if err := s.redis.Del(t.Context(), pipeline.Stream).Err(); err != nil {
		t.Fatal(err)
	}
	s.awaitLoss(t, "does not exist")
	s.feedAll(t, fedBlocks)
	s.awaitApplied(t, fedBlocks)
	s.expectFed(t)
}

// countedBlocks gives the number of blocks that the buckets hold.
func (s *system) countedBlocks(t *testing.T) (n uint64) {
	t.Helper()
	const query = `select sum(value)::bigint from metric_buckets where metric = 'btc_block_count' and bucket_size = 'daily'`
	if err := s.database.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// slowly starts a feed that goes on for some seconds.
func (s *system) slowly(t *testing.T, blocks int) {
	t.Helper()
	feed := s.feed(t, blocks, map[string]string{"FEED_RATE": "800", "FEED_BATCH_ENTRIES": "20", "FOLLOW": "true", "FEED_INTERVAL": "500ms"})
	if err := feed.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresRestarts(t *testing.T) {
	t.Parallel()
	server := harness.PostgresServer(t)
	if _, _, err := migration.Run(t.Context(), server.URL()); err != nil {
		t.Fatal(err)
	}
	s := newSystem(t, server.URL(), harness.Redis(t))
	s.start(t)
	s.slowly(t, fedBlocks)
	for i, signal := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT} { // in good order, at once
		s.awaitApplied(t, uint64(i+1)*fedBlocks/4)
		if err := server.Signal(signal); err != nil {
			t.Fatal(err)
		}
		<-server.Done()
		time.Sleep(time.Second)
		server = restart(t, server, devserver.StartPostgres)
	}
	s.awaitApplied(t, fedBlocks)
	s.expectFed(t)
}

// restart starts a server that has ended, in the same folder.
func restart(t *testing.T, server *devserver.Server,
	start func(context.Context, string, ...devserver.Option) (*devserver.Server, error),
) *devserver.Server {
	t.Helper()
	again, err := start(t.Context(), filepath.Dir(server.Log()), devserver.Volatile())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := again.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return again
}

// TestRedisLosesASecond kills Redis, and takes from its file what it had not synced.
func TestRedisLosesASecond(t *testing.T) {
	t.Parallel()
	server := harness.RedisServer(t)
	s := newSystem(t, harness.Database(t), server.URL())
	s.start(t)
	s.slowly(t, fedBlocks)
	for i, lost := range []int64{0, 300_000} { // bytes
		s.awaitApplied(t, uint64(i+1)*fedBlocks/4)
		if err := server.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-server.Done()
		time.Sleep(time.Second)
		forget(t, filepath.Join(filepath.Dir(server.Log()), "data"), lost)
		server = restart(t, server, devserver.StartRedis)
	}
	s.awaitApplied(t, fedBlocks)
	s.expectFed(t)
}

// forget cuts the last bytes off the append-only file of a Redis that does not run.
func forget(t *testing.T, data string, bytes int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatalf("append-only files %v, %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], info.Size()-bytes); err != nil {
		t.Fatal(err)
	}
}

func TestRedisOutOfMemory(t *testing.T) {
	t.Parallel()
	s := newSystem(t, harness.Database(t), harness.Redis(t))
	s.start(t)
	if err := s.source.Kill(); err != nil {
		t.Fatal(err)
	}
	const held = 600
	feed := s.feed(t, fedBlocks, map[string]string{
		"FEED_LIMIT": strconv.Itoa(held), "FOLLOW": "true", "FEED_INTERVAL": "500ms",
	})
	if err := feed.Start(); err != nil {
		t.Fatal(err)
	}
	pipeline.Eventually(t, 20*time.Second, "the feed waits for the function", func() bool { return s.end(t) == held })
	if err := s.redis.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.source.Start(); err != nil {
		t.Fatal(err)
	}
	s.awaitApplied(t, held) // what is in the stream can still be read
	pipeline.Eventually(t, 20*time.Second, "the feed tells that Redis is out of memory", func() bool {
		log, err := feed.Log()
		return err == nil && strings.Contains(log, "OOM")
	})
	if end := s.end(t); end != held {
		t.Errorf("%d blocks were appended without memory", end-held)
	}
	if err := s.redis.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	s.awaitApplied(t, fedBlocks)
	s.expectFed(t)
}

// end gives the number of blocks in the stream.
func (s *system) end(t *testing.T) uint64 {
	t.Helper()
	n, err := s.redis.XLen(t.Context(), pipeline.Stream).Result()
	if err != nil {
		t.Fatal(err)
	}
	return uint64(n)
}

// awaitSilence waits until all threads of a service that gets SIGSTOP have stopped, which takes a moment.
func (s service) awaitSilence(t *testing.T) {
	t.Helper()
	client := &http.Client{Timeout: 500 * time.Millisecond}
	defer client.CloseIdleConnections()
	pipeline.Eventually(t, 10*time.Second, "the function is frozen", func() bool {
		response, err := client.Get(s.url + "/healthz") //nolint:noctx // has a timeout
		if err == nil {
			_ = response.Body.Close()
		}
		return err != nil
	})
}

// TestFrozenFunction freezes a function in the middle of its transaction: another instance goes on, and what the frozen
// one does when it thaws changes nothing.
func TestFrozenFunction(t *testing.T) {
	t.Parallel()
	frozen := startService(t, map[string]string{"POSTGRES_IDLE_TIMEOUT": "500ms"})
	all := payments("blockchain_events", 5)
	post(t, modes["batched"](t, frozen.url, cloudEvents(all[:1]))[0])
	tx := frozen.lock(t)
	answered := sendMeanwhile(t, modes["batched"](t, frozen.url, cloudEvents(all[1:]))[0])
	frozen.awaitLock(t)
	if err := frozen.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	frozen.awaitSilence(t)
	if err := tx.Rollback(t.Context()); err != nil { // from here on the frozen one has the lock
		t.Fatal(err)
	}

	other := frozen
	other.Program, other.url = pipeline.Function(t, "other counter", frozen.Binary, frozen.Environment["POSTGRES_URL"], nil)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	pipeline.AwaitReady(t, other.url)
	begin := time.Now()
	if got := post(t, modes["batched"](t, other.url, cloudEvents(all[1:4]))[0]); got.status != http.StatusNoContent {
		t.Fatalf("answer %d of the other instance", got.status)
	}
	t.Logf("the other instance waited %s for the frozen one", time.Since(begin).Round(time.Millisecond))

	if err := frozen.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got.status != http.StatusServiceUnavailable {
		t.Errorf("answer %d of the frozen instance, whose transaction has ended, want 503", got.status)
	}
	if got := post(t, modes["batched"](t, frozen.url, cloudEvents(all[1:]))[0]); got.status != http.StatusNoContent {
		t.Errorf("answer %d to the batch again", got.status)
	}
	frozen.expect(t, paymentBuckets(5))
}
