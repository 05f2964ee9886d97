package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/bitcoin"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/examples"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	stream       = "blockchain_events:bitcoin"
	sampleBlocks = 14_132
	partBlocks   = 1_200 // of the sample, where all of it takes too long
	patience     = 60 * time.Second
)

// world is the servers and files of a test.
type world struct {
	redisURL, postgresURL, files string

	raw   *redis.Client // what others do to the stream
	redis *redisstream.Client
	store *postgres.Store
	chain *bitcoin.Chain
	size  uint64 // blocks of the chain
}

func newWorld(t *testing.T) *world {
	t.Helper()
	files, err := examples.SampleChain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{redisURL: harness.Redis(t), postgresURL: harness.Database(t), files: files}
	options, err := redis.ParseURL(w.redisURL)
	if err != nil {
		t.Fatal(err)
	}
	w.raw = redis.NewClient(options)
	t.Cleanup(func() { _ = w.raw.Close() })
	w.redis, err = redisstream.Open(t.Context(), redisstream.Config{URL: w.redisURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.redis.Close() })
	var cfg postgres.Config
	cfg.URL, cfg.PoolSize = w.postgresURL, 4
	cfg.ConnectTimeout, cfg.StatementTimeout, cfg.LockTimeout = 5*time.Second, 30*time.Second, 5*time.Second
	cfg.IdleTimeout, cfg.TCPTimeout = 5*time.Second, 15*time.Second
	w.store, err = postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.store.Close)
	w.use(t, files)
	return w
}

// newPart has only the first blocks of the sample.
func newPart(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	files := filepath.Join(t.TempDir(), "part.dat")
	if err := os.WriteFile(files, beginning(t, w.files, partBlocks), 0o600); err != nil {
		t.Fatal(err)
	}
	w.use(t, files)
	return w
}

// beginning gives the first blocks of a block file.
func beginning(t *testing.T, file string, blocks int) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for range blocks {
		size += 8 + int(binary.LittleEndian.Uint32(data[size+4:]))
	}
	return data[:size]
}

func (w *world) use(t *testing.T, files string) {
	t.Helper()
	w.files, w.chain = files, w.open(t, files)
	w.size = w.chain.Tip() + 1
}

func (w *world) open(t *testing.T, files string) *bitcoin.Chain {
	t.Helper()
	cfg := bitcoin.Config{Files: files, Network: "mainnet"}
	chain, err := bitcoin.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = chain.Close() })
	return chain
}

// feed makes a feed of the sample; change may alter it.
func (w *world) feed(t *testing.T, change func(*Config)) *feed {
	t.Helper()
	cfg := Config{
		Chain: "bitcoin", Stream: stream, Interval: 200 * time.Millisecond,
		Limit: 100_000, BatchEntries: 250, BatchBytes: 4 << 20,
	}
	if change != nil {
		change(&cfg)
	}
	return &feed{
		cfg: cfg, chain: bitcoinChain{w.open(t, w.files)}, redis: w.redis, store: w.store,
		log: slog.New(slog.NewTextHandler(t.Output(), nil)), progress: newProgress(prometheus.NewRegistry()), now: time.Now,
	}
}

func following(cfg *Config) { cfg.Follow = true }

// start runs a feed until the test ends or stop is called.
func start(t *testing.T, f *feed) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("feed: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func (w *world) run(t *testing.T, f *feed) {
	t.Helper()
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// mark commits a function's watermark at a height.
func (w *world) mark(t *testing.T, function string, number uint64) {
	t.Helper()
	hash, ok := w.chain.Hash(number)
	if !ok {
		t.Fatalf("no block %d", number)
	}
	w.markAs(t, function, watermark.Mark{ID: id(number), Hash: hash})
}

func (w *world) markAs(t *testing.T, function string, mark watermark.Mark) {
	t.Helper()
	if _, err := w.store.Registry(t.Context(), function, stream); err != nil {
		t.Fatal(err)
	}
	request := aggregate.CommitRequest{Function: function, Stream: stream}
	err := w.store.Commit(t.Context(), request, func(aggregate.Current) (aggregate.Effects, error) {
		return aggregate.Effects{Mark: mark}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) info(t *testing.T) redisstream.Info {
	t.Helper()
	info, err := w.redis.Info(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// whole tells what is wrong with a stream that should hold every block from a height on.
func (w *world) whole(ctx context.Context, from uint64) error {
	next := id(from)
	for {
		entries, err := w.redis.Range(ctx, stream, next, events.ID{}, 1000)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			number := next.Minor - 1
			if hash, _ := w.chain.Hash(number); entry.ID != next || entry.ContentHash() != hash {
				return fmt.Errorf("entry %s is %s, want block %d %s", entry.ID, entry.ContentHash(), number, hash)
			}
			next = id(number + 1)
		}
		if len(entries) == 0 {
			break
		}
	}
	// What was read may have been replaced meanwhile.
	if info, err := w.redis.Info(ctx, stream); err != nil || info.LastEntry != id(w.size-1) || next != id(w.size) {
		return fmt.Errorf("the stream ends at %s, %v", info.LastEntry, err) //nolint:errorlint // err may be nil
	}
	return nil
}

func (w *world) checkWhole(t *testing.T, from uint64) {
	t.Helper()
	if err := w.whole(t.Context(), from); err != nil {
		t.Error(err)
	}
}

// once tells that everything was appended once.
func (w *world) checkOnce(t *testing.T) {
	t.Helper()
	w.checkWhole(t, 0)
	if info := w.info(t); info.EntriesAdded != int64(w.size) || info.Length != int64(w.size) {
		t.Errorf("the stream has %d entries, %d were ever added, want %d", info.Length, info.EntriesAdded, w.size)
	}
}

func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if last = holds(); last == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, last)
}

func TestFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, w.feed(t, nil))
	w.checkOnce(t)
	w.run(t, w.feed(t, nil))
	w.checkOnce(t)

	streams, err := w.redis.Streams(t.Context())
	if err != nil || len(streams) != 1 || streams[0] != stream {
		t.Errorf("announced are %q, %v", streams, err)
	}
	registered, err := w.store.Streams(t.Context())
	want := postgres.Stream{Name: stream, Mode: postgres.ModeFeed, Chain: "bitcoin"}
	if err != nil || len(registered) != 1 || registered[0] != want {
		t.Errorf("registered are %v, %v", registered, err)
	}
}

func TestResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := w.files
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	w.files = filepath.Join(t.TempDir(), "part.dat")
	if err := os.WriteFile(w.files, data[:1_000_000], 0o600); err != nil {
		t.Fatal(err)
	}
	stop := start(t, w.feed(t, following))
	eventually(t, "first part", func() error {
		if info := w.info(t); info.Length < 4000 {
			return fmt.Errorf("%d entries", info.Length)
		}
		return nil
	})
	if err := os.WriteFile(w.files, data, 0o600); err != nil { // new blocks appear
		t.Fatal(err)
	}
	w.size = sampleBlocks
	eventually(t, "second part", func() error { return w.whole(t.Context(), 0) })
	stop()
	w.checkOnce(t)
}

func TestConfirmations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, w.feed(t, func(cfg *Config) { cfg.Confirmations = 6 }))
	if info := w.info(t); info.Last != id(sampleBlocks-1-6) {
		t.Errorf("the stream ends at %s", info.Last)
	}
	w.run(t, w.feed(t, func(cfg *Config) { cfg.Confirmations = 8 }))
	w.run(t, w.feed(t, nil))
	w.checkOnce(t)
}

// watched counts how often a feed looks for new blocks.
type watched struct {
	chain
	looks atomic.Int64
}

func (w *watched) Refresh(ctx context.Context) error {
	w.looks.Add(1)
	return w.chain.Refresh(ctx)
}

func TestWaitsForFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.feed(t, func(cfg *Config) { cfg.Follow, cfg.Limit = true, 1000 })
	files := &watched{chain: f.chain}
	f.chain = files
	start(t, f)
	endsAt := func(number uint64) func() error {
		return func() error {
			if info := w.info(t); info.Last != id(number) {
				return fmt.Errorf("ends at %s", info.Last)
			}
			return nil
		}
	}
	eventually(t, "without a function", endsAt(999))
	w.mark(t, "a", 700)
	w.mark(t, "b", 500)
	eventually(t, "with two functions", endsAt(1500))
	before := files.looks.Load()
	eventually(t, "looks again", func() error {
		if more := files.looks.Load() - before; more < 3 {
			return fmt.Errorf("%d times", more)
		}
		return nil
	})
	if err := endsAt(1500)(); err != nil {
		t.Error(err)
	}
	w.mark(t, "b", 900)
	eventually(t, "when the slower one moves", endsAt(1700))
}

func TestRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.feed(t, func(cfg *Config) { cfg.Follow, cfg.Rate = true, 100 })
	began := time.Now()
	start(t, f)
	eventually(t, "blocks at that rate", func() error {
		got := w.info(t).Length
		if passed := time.Since(began).Seconds(); float64(got) > 100*passed+20 {
			t.Fatalf("%d blocks in %g seconds at a rate of 100", got, passed)
		}
		if got < 200 {
			return fmt.Errorf("%d blocks", got)
		}
		return nil
	})
}

// lowest is the height of the lowest watermark in tests of losses.
const lowest = 600

// losses are what can happen to a stream.
var losses = map[string]func(t *testing.T, w *world) error{
	"trimmed": func(t *testing.T, w *world) error {
		t.Helper()
		return w.raw.XTrimMaxLen(t.Context(), stream, 100).Err()
	},
	"trimmed to nothing": func(t *testing.T, w *world) error {
		t.Helper()
		return w.raw.XTrimMaxLen(t.Context(), stream, 0).Err()
	},
	"deleted": func(t *testing.T, w *world) error {
		t.Helper()
		return w.raw.Del(t.Context(), stream).Err()
	},
	"rolled back": func(t *testing.T, w *world) error {
		t.Helper()
		return w.rollBack(t, 600)
	},
	"rolled back to between the functions": func(t *testing.T, w *world) error {
		t.Helper()
		return w.rollBack(t, 1400)
	},
	"one entry deleted": func(t *testing.T, w *world) error {
		t.Helper()
		return w.raw.XDel(t.Context(), stream, id(1400).String()).Err()
	},
	"the lowest watermark's own entry deleted": func(t *testing.T, w *world) error {
		t.Helper()
		return w.raw.XDel(t.Context(), stream, id(lowest).String()).Err()
	},
	"the last entry deleted": func(t *testing.T, w *world) error {
		t.Helper()
		return w.raw.XDel(t.Context(), stream, id(w.size-1).String()).Err()
	},
	"an entry of another producer": func(t *testing.T, w *world) error {
		t.Helper()
		return w.raw.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: []string{"type", "x"}}).Err()
	},
	"another Redis": func(t *testing.T, w *world) error {
		t.Helper()
		return w.raw.FlushAll(t.Context()).Err()
	},
}

// rollBack leaves what the stream held when it had so many entries.
func (w *world) rollBack(t *testing.T, length int64) error {
	t.Helper()
	entries, err := w.redis.Range(t.Context(), stream, events.ID{}, events.ID{}, length)
	if err != nil {
		return err
	}
	return w.redis.Replace(t.Context(), stream, w.info(t), entries[0].ID.Minor-1, events.ID{}, entries)
}

func TestHeals(t *testing.T) {
	t.Parallel()
	stages := []struct {
		name  string
		marks func(t *testing.T, w *world)
		from  uint64 // where the stream has to be whole
	}{
		{"no function", func(*testing.T, *world) {}, 0},
		{"a function at 0-0", func(t *testing.T, w *world) { t.Helper(); w.mark(t, "a", 1100); w.begin(t, "b") }, 0},
		{"two functions", func(t *testing.T, w *world) { t.Helper(); w.mark(t, "b", lowest) }, lowest},
		{"all applied", func(t *testing.T, w *world) {
			t.Helper()
			w.mark(t, "a", partBlocks-1)
			w.mark(t, "b", partBlocks-1)
		}, partBlocks - 1},
	}
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPart(t)
			w.run(t, w.feed(t, nil))
			for _, stage := range stages {
				t.Log(stage.name)
				stage.marks(t, w)
				if err := lose(t, w); err != nil {
					t.Fatal(err)
				}
				w.run(t, w.feed(t, nil)) // at start
				w.checkHealed(t, stage.from)

				stop := start(t, w.feed(t, following)) // while it follows
				if err := lose(t, w); err != nil {
					t.Fatal(err)
				}
				eventually(t, "heal", func() error { return w.whole(t.Context(), stage.from) })
				stop()
				w.checkHealed(t, stage.from)
			}
		})
	}
}

// TestTrimmedStreamsAreWhole, whoever has still to come back: a function that is detached, and a new one, which the archive moves.
func TestTrimmedStreamsAreWhole(t *testing.T) {
	t.Parallel()
	w := newPart(t)
	w.run(t, w.feed(t, nil))
	w.mark(t, "archive", 1100)
	w.mark(t, "a", 1000)
	w.mark(t, "away", 7)
	w.begin(t, "new")
	if err := w.store.Detach(t.Context(), "away"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.redis.Trim(t.Context(), stream, id(1000), 0); err != nil {
		t.Fatal(err)
	}
	trimmed := w.info(t)
	f := w.feed(t, nil)
	w.run(t, f)
	if diff := gocmp.Diff(trimmed, w.info(t)); diff != "" {
		t.Errorf("the stream was changed: %s", diff)
	}
	if f.unapplied() != partBlocks-1001 {
		t.Errorf("%d entries are waited for, want %d", f.unapplied(), partBlocks-1001)
	}
	// What the archive cannot hand over is put up again.
	hole := watermark.Hole{After: id(1100), Next: id(1102)}
	hash, _ := w.chain.Hash(1100)
	if err := w.store.AcceptHoles(t.Context(), "archive", stream, watermark.Mark{ID: id(1100), Hash: hash}, []watermark.Hole{hole}, "x"); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.feed(t, nil))
	w.checkWhole(t, 0)
}

// TestTrimmedWhileItLooks: between the watermarks and the stream a function goes on, and what it has applied is trimmed. That is
// no loss.
func TestTrimmedWhileItLooks(t *testing.T) {
	t.Parallel()
	w := newPart(t)
	w.run(t, w.feed(t, nil))
	w.mark(t, "archive", 500)
	f := w.feed(t, nil)
	f.now = sync.OnceValue(func() time.Time { // it is asked once the watermarks are known
		w.mark(t, "archive", 700)
		if _, err := w.redis.Trim(t.Context(), stream, id(700), 0); err != nil {
			t.Error(err)
		}
		return time.Now()
	})
	if err := f.locate(t.Context()); !errors.Is(err, errMoved) {
		t.Errorf("got %v, want %v", err, errMoved)
	}
	if info := w.info(t); info.First != id(700) {
		t.Errorf("the stream begins with %s, want %s", info.First, id(700))
	}
}

// begin enters a function that has applied nothing.
func (w *world) begin(t *testing.T, function string) {
	t.Helper()
	if _, err := w.store.Watermark(t.Context(), function, stream); err != nil {
		t.Fatal(err)
	}
}

// checkHealed tells that the functions can read on, and that a new one is not told that history begins at the lowest mark.
func (w *world) checkHealed(t *testing.T, from uint64) {
	t.Helper()
	w.checkWhole(t, from)
	marks, err := w.store.Marks(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marks {
		if err := w.redis.Check(t.Context(), stream, m.Mark); err != nil {
			t.Errorf("%s: %v", m.Function, err)
		}
	}
	mark := watermark.Mark{}
	for {
		batch, err := w.redis.Read(t.Context(), stream, mark, redisstream.Limit{Count: 1000, Bytes: 1 << 30})
		if _, lost := errors.AsType[*redisstream.LossError](err); lost {
			if w.whole(t.Context(), 0) == nil {
				t.Errorf("the stream is whole, a new function is told: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			if err := w.whole(t.Context(), 0); err != nil {
				t.Errorf("a new function reads to the end of a stream that is not whole: %v", err)
			}
			return
		}
		mark = watermark.Mark{ID: batch[len(batch)-1].ID, Hash: batch[len(batch)-1].Hash}
	}
}

func TestRefusesForeign(t *testing.T) {
	t.Parallel()
	other := strings.Repeat("ab", 32)
	tests := map[string]struct {
		spoil func(t *testing.T, w *world)
		want  error
	}{
		"another block under a watermark": {
			func(t *testing.T, w *world) { t.Helper(); w.markAs(t, "a", watermark.Mark{ID: id(5), Hash: other}) }, errForeign,
		},
		"a watermark beyond the files": {
			func(t *testing.T, w *world) {
				t.Helper()
				w.markAs(t, "a", watermark.Mark{ID: id(sampleBlocks), Hash: other})
			}, errBeyond,
		},
		"a watermark of a later epoch": {
			func(t *testing.T, w *world) {
				t.Helper()
				w.markAs(t, "a", watermark.Mark{ID: events.ID{Major: 1, Minor: 7}, Hash: other})
			}, errForeign,
		},
		"another block at the stream's end": {
			func(t *testing.T, w *world) {
				t.Helper()
				err := w.raw.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: id(0).String(), Values: []string{
					events.FieldKind, "block", events.FieldHash, other,
				}}).Err()
				if err != nil {
					t.Fatal(err)
				}
			}, errForeign,
		},
		"another producer": {
			func(t *testing.T, w *world) {
				t.Helper()
				if err := w.raw.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: []string{"type", "x"}}).Err(); err != nil {
					t.Fatal(err)
				}
			}, errForeign,
		},
		"an open stream": {
			func(t *testing.T, w *world) {
				t.Helper()
				if err := w.store.RegisterStream(t.Context(), postgres.Stream{Name: stream, Mode: postgres.ModeOpen}); err != nil {
					t.Fatal(err)
				}
			}, postgres.ErrStream,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.spoil(t, w)
			before := w.info(t)
			if err := w.feed(t, nil).run(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if after := w.info(t); after != before {
				t.Errorf("the stream was %+v, is %+v", before, after)
			}
		})
	}
}

func TestTwoFeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var group errgroup.Group
	for _, entries := range []int{50, 70} {
		f := w.feed(t, func(cfg *Config) { cfg.BatchEntries = entries })
		group.Go(func() error { return f.run(t.Context()) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	w.checkOnce(t)
}

// A feed that has not seen the files grow yet finds the stream ahead of it, as another feed has.
func TestFeedBehindAnother(t *testing.T) {
	t.Parallel()
	w := newPart(t)
	whole, part := w.files, filepath.Join(t.TempDir(), "growing.dat")
	written := 0
	grow := func(blocks int) {
		file, err := os.OpenFile(part, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		data := beginning(t, whole, blocks)
		_, err = file.Write(data[written:])
		written = len(data)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	grow(100)
	w.files = part
	late := func(change func(*Config)) *feed {
		f := w.feed(t, change)
		f.cfg.Interval, f.refreshed = time.Hour, time.Now()
		return f
	}
	follows, stays := late(following), late(nil)
	grow(200)
	w.size = 200
	w.run(t, w.feed(t, nil))
	if err := stays.run(t.Context()); !errors.Is(err, errBeyond) {
		t.Errorf("without following: %v, want %v", err, errBeyond)
	}
	start(t, follows)
	eventually(t, "the files are read again", follows.progress.check)

	for range 2 {
		start(t, w.feed(t, func(cfg *Config) { cfg.Follow, cfg.Interval = true, 100*time.Millisecond }))
	}
	for blocks := 210; blocks <= 400; blocks += 10 {
		grow(blocks)
		tip := id(uint64(blocks - 1))
		eventually(t, "one of them has the new blocks", func() error {
			if info := w.info(t); info.Last != tip {
				return fmt.Errorf("ends at %s", info.Last)
			}
			return nil
		})
	}
	w.size = 400
	w.checkOnce(t)
}

// Two feeds heal at once while a third loses the stream again.
func TestTwoFeedsHeal(t *testing.T) {
	t.Parallel()
	w := newPart(t)
	w.run(t, w.feed(t, nil))
	w.mark(t, "a", lowest)
	for range 2 {
		start(t, w.feed(t, following))
	}
	for _, lose := range losses {
		if err := lose(t, w); err != nil {
			t.Fatal(err)
		}
		eventually(t, "heal", func() error { return w.whole(t.Context(), lowest) })
	}
}

// outages are what can happen to the servers; each gives its remedy.
var outages = map[string]func(t *testing.T, w *world) (repair func() error){
	"Redis is out of memory": func(t *testing.T, w *world) func() error {
		t.Helper()
		if err := w.raw.ConfigSet(t.Context(), "maxmemory", "1mb").Err(); err != nil {
			t.Fatal(err)
		}
		return func() error { return w.raw.ConfigSet(t.Context(), "maxmemory", "0").Err() }
	},
	"Redis refuses": func(t *testing.T, w *world) func() error {
		t.Helper()
		admin := w.raw.Conn()
		t.Cleanup(func() { _ = admin.Close() })
		if err := admin.ConfigSet(t.Context(), "requirepass", "another").Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
			t.Fatal(err)
		}
		return func() error { return admin.ConfigSet(t.Context(), "requirepass", "").Err() }
	},
	"PostgreSQL refuses": func(t *testing.T, w *world) func() error {
		t.Helper()
		address, err := url.Parse(w.postgresURL)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(address.Path, "/")
		address.Path = "/postgres"
		admin, err := pgx.Connect(t.Context(), address.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Close(context.WithoutCancel(t.Context())) })
		allow := func(allowed bool) error {
			_, err := admin.Exec(t.Context(), fmt.Sprintf("alter database %s allow_connections %t", pgx.Identifier{name}.Sanitize(), allowed))
			return err
		}
		if err := allow(false); err != nil {
			t.Fatal(err)
		}
		const end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1"
		if _, err := admin.Exec(t.Context(), end, name); err != nil {
			t.Fatal(err)
		}
		return func() error { return allow(true) }
	},
}

func TestOutlasts(t *testing.T) {
	t.Parallel()
	for name, breakIt := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPart(t)
			f := w.feed(t, func(cfg *Config) { cfg.Follow, cfg.Rate = true, 500 })
			start(t, f)
			eventually(t, "begin", func() error {
				if info := w.info(t); info.Length < 100 || !f.progress.ready.Load() {
					return fmt.Errorf("%d entries", info.Length)
				}
				return nil
			})
			repair := breakIt(t, w)
			eventually(t, "notice", func() error {
				if f.progress.ready.Load() {
					return errors.New("still ready")
				}
				return nil
			})
			if err := repair(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "resume", func() error { return w.whole(t.Context(), 0) })
			w.checkOnce(t)
			if !f.progress.ready.Load() {
				t.Error("not ready again")
			}
		})
	}
}

// Two feeds, one of which is killed again and again.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	binary := harness.Build(t, "events/feed")
	command := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), binary)
		cmd.Env = []string{
			"REDIS_URL=" + w.redisURL, "POSTGRES_URL=" + w.postgresURL, "BLOCK_FILES=" + w.files, "FEED_BATCH_ENTRIES=20",
			"FEED_INTERVAL=100ms", "METRICS_PORT=0",
		}
		cmd.Stderr = t.Output()
		return cmd
	}
	beside := command()
	beside.Env = append(beside.Env, "FEED_RATE=1000", "FOLLOW=true")
	if err := beside.Start(); err != nil {
		t.Fatal(err)
	}
	for kill := range 12 {
		cmd := command()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(50+kill*37) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		t.Logf("killed at %s", w.info(t).Last)
	}
	if err := command().Run(); err != nil {
		t.Error(err)
	}
	if err := beside.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := beside.Wait(); err != nil {
		t.Error(err)
	}
	w.checkOnce(t)
}
