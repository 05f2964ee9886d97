package load_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/load"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestMain(m *testing.M) { harness.Main(m) }

const stream = "blockchain_events:c:set"

// sample makes entries of so many blocks, two rows each; change marks one of them.
func sample(t *testing.T, blocks int, change map[int]string) []events.Entry {
	t.Helper()
	all := make([]events.Entry, 0, 2*blocks)
	for i := range 2 * blocks {
		fields := []events.Field{{Name: "n", Value: fmt.Sprint(i)}, {Name: "note", Value: "as ever" + change[i]}}
		id := events.ID{Major: uint64(i/2 + 1), Minor: uint64(i%2 + 1)}
		entry, err := events.NewFlatEntry(id, "x", "c", time.Unix(1_700_000_000, 0), fields, time.Unix(1_800_000_000+int64(i), 0))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry)
	}
	return all
}

// list gives entries one by one.
type list struct {
	left []events.Entry
	line int
	fail error // after the last
}

func (l *list) Next() (events.Entry, row.Row, error) {
	l.line++
	at := row.Row{File: "f.csv", Line: l.line + 1}
	if len(l.left) == 0 {
		return events.Entry{}, at, l.fail
	}
	next := l.left[0]
	l.left = l.left[1:]
	return next, at, nil
}

func (l *list) Close() error { return nil }

// bed is a stream in Redis, with watermarks.
type bed struct {
	redis *redisstream.Client
	plain *redis.Client
	mu    sync.Mutex
	marks []watermark.Mark
}

func newBed(t *testing.T) *bed {
	t.Helper()
	url := harness.Redis(t)
	client, err := redisstream.Open(t.Context(), redisstream.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // nothing is under way
	return &bed{redis: client, plain: pipeline.Redis(t, url)}
}

func (b *bed) config(entries []events.Entry) load.Config {
	return load.Config{
		Stream: stream, Limit: 100_000,
		Open: func(context.Context) (load.Entries, error) { return &list{left: entries, fail: io.EOF}, nil },
		Marks: func(context.Context) ([]watermark.Mark, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.marks, nil
		},
		Report: func(load.Progress) {},
	}
}

func (b *bed) mark(entry events.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marks = []watermark.Mark{{ID: entry.ID, Hash: entry.ContentHash()}}
}

// holds compares the stream with entries.
func (b *bed) holds(t *testing.T, want []events.Entry) {
	t.Helper()
	got, err := b.redis.Range(t.Context(), stream, events.ID{}, events.ID{}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(hashes(want), hashes(got)); diff != "" {
		t.Error(diff)
	}
}

func hashes(entries []events.Entry) []string {
	texts := make([]string, len(entries))
	for i, e := range entries {
		texts[i] = e.ID.String() + " " + e.ContentHash()
	}
	return texts
}

func run(t *testing.T, cfg load.Config, redis load.Stream) load.Progress {
	t.Helper()
	done, err := load.Run(t.Context(), cfg, redis)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// TestAgainAddsNothing loads a file, the same file, a longer one, a shorter one.
func TestAgainAddsNothing(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 1500, nil)
	for _, step := range []struct {
		entries []events.Entry
		want    load.Progress
	}{
		{all[:2001], load.Progress{Added: 2001}},
		{all[:2001], load.Progress{Known: 2001}},
		{all, load.Progress{Known: 2001, Added: 999}},
		{all[:10], load.Progress{Known: 10}},
		{all[1000:], load.Progress{Known: 2000}},
	} {
		if diff := cmp.Diff(step.want, run(t, b.config(step.entries), b.redis)); diff != "" {
			t.Error(diff)
		}
	}
	b.holds(t, all)
	announced, err := b.redis.Streams(t.Context())
	if err != nil || !cmp.Equal(announced, []string{stream}) {
		t.Errorf("announced are %v, %v", announced, err)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	all := sample(t, 10, nil)
	cases := map[string]struct {
		first, second []events.Entry
		want          string
	}{
		"other content": {all, sample(t, 10, map[int]string{7: "!"}), "f.csv, line 9: the stream differs from the file: its id 4-2 is in the stream with other content"},
		"a row between": {append(append([]events.Entry{}, all[:5]...), all[6:]...), all, "f.csv, line 7: the stream differs from the file: its id is 3-2, which the stream does not have, and the stream has gone on to 10-2: rows cannot be put before others that were fed"},
		"rows before":   {all[4:], all, "f.csv, line 2: the stream differs from the file: its id is 1-1, which the stream does not have, and the stream has gone on to 10-2: rows cannot be put before others that were fed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			run(t, b.config(c.first), b.redis)
			_, err := load.Run(t.Context(), b.config(c.second), b.redis)
			if !errors.Is(err, load.ErrDiffers) || err.Error() != c.want {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			b.holds(t, c.first)
		})
	}
}

// TestBlocksFollow refuses a file whose first block is not the child of the stream's last one.
func TestBlocksFollow(t *testing.T) {
	t.Parallel()
	chain := func(branch string, from, to int) []events.Entry {
		var all []events.Entry
		for n := from; n <= to; n++ {
			hash, parent := fmt.Sprintf("%s%d", branch, n), fmt.Sprintf("%s%d", branch, n-1)
			entry, err := events.NewBlockEntry(events.ID{Minor: uint64(n) + 1}, events.Block{
				Chain: "c", Number: uint64(n), Hash: hash, ParentHash: parent, Time: time.Unix(1_700_000_000, 0),
				Fields: map[string]any{"number": n, "hash": hash, "timestamp": 1_700_000_000},
			}, time.Unix(1_800_000_000, 0))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, entry)
		}
		return all
	}
	b := newBed(t)
	run(t, b.config(chain("a", 0, 19)), b.redis)
	for name, c := range map[string]struct {
		file []events.Entry
		want string
	}{
		"a gap":          {chain("a", 25, 30), "0-26 is the child of a24, the stream ends with a19, of entry 0-20"},
		"another branch": {chain("b", 20, 25), "0-21 is the child of b19, the stream ends with a19, of entry 0-20"},
	} {
		_, err := load.Run(t.Context(), b.config(c.file), b.redis)
		if want := "f.csv, line 2: the stream differs from the file: its block " + c.want; !errors.Is(err, load.ErrDiffers) ||
			!strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %s", name, err, want)
		}
	}
	run(t, b.config(chain("a", 10, 30)), b.redis)
	b.holds(t, chain("a", 0, 30))
}

// TestKeepsWhatIsGood loads a file whose last row cannot be read.
func TestKeepsWhatIsGood(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 10, nil)
	cfg := b.config(all)
	broken := errors.New("broken row")
	cfg.Open = func(context.Context) (load.Entries, error) { return &list{left: all, fail: broken}, nil }
	if _, err := load.Run(t.Context(), cfg, b.redis); !errors.Is(err, broken) {
		t.Error(err)
	}
	b.holds(t, all)
}

// TestTwoAtOnce loads one file by two loads, which fence each other.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 20_000, nil)
	var added, seen [2]int64
	var both sync.WaitGroup
	for i := range added {
		both.Go(func() {
			done, err := load.Run(t.Context(), b.config(all), b.redis)
			if err != nil {
				t.Error(err)
			}
			added[i], seen[i] = done.Added, done.Known
		})
	}
	both.Wait()
	if added[0]+added[1] != int64(len(all)) || added[0]+seen[0] != int64(len(all)) || added[1]+seen[1] != int64(len(all)) {
		t.Errorf("%d and %d were added of %d; known were %v", added[0], added[1], len(all), seen)
	}
	b.holds(t, all)
}

// forgetful loses the answers of some appends.
type forgetful struct {
	*redisstream.Client
	calls int
}

func (f *forgetful) Append(ctx context.Context, stream string, after events.ID, entries []events.Entry) error {
	err := f.Client.Append(ctx, stream, after, entries)
	if f.calls++; f.calls%3 == 1 {
		return errors.New("the answer was lost")
	}
	return err
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 2000, nil)
	done := run(t, b.config(all), &forgetful{Client: b.redis})
	if done.Added+done.Known != int64(len(all)) || done.Known == 0 {
		t.Errorf("progress is %+v", done)
	}
	b.holds(t, all)
}

// TestWaitsForFunctions goes on only as far as the limit allows.
func TestWaitsForFunctions(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 2000, nil)
	cfg := b.config(all)
	cfg.Limit = 600
	waiting := make(chan string)
	cfg.Report = func(p load.Progress) {
		if p.Note != "" {
			waiting <- p.Note
		}
	}
	finished := make(chan error, 1)
	go func() {
		_, err := load.Run(t.Context(), cfg, b.redis)
		finished <- err
	}()
	for waits := 0; ; waits++ {
		select {
		case reason := <-waiting:
			info, err := b.redis.Info(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			if waits == 0 && (info.Length < 600 || info.Length > 1200 || !strings.HasPrefix(reason, "waiting: functions have ")) {
				t.Errorf("it waits after %d entries: %s", info.Length, reason)
			}
			b.mark(all[info.Length-1])
		case err := <-finished:
			if err != nil || waits == 0 {
				t.Errorf("it waited %d times, and ended with %v", waits, err)
			}
			b.holds(t, all)
			return
		}
	}
}

func TestStopsWithItsContext(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 2000, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := b.config(all)
	cfg.Limit = 500
	cfg.Report = func(p load.Progress) {
		if p.Note != "" {
			cancel()
		}
	}
	if _, err := load.Run(ctx, cfg, b.redis); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	cfg = b.config(all)
	run(t, cfg, b.redis)
	b.holds(t, all)
}
