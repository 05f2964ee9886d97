package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// errForeign says that the stream or a watermark holds a block that is not of the chain in the files. Which one is right
// only a person can tell.
var errForeign = errors.New("not of this chain")

// errBeyond says that the stream or a watermark holds a block beyond those in the files, as where another feed has seen it
// first. It passes when the files gain it.
var errBeyond = errors.New("beyond the chain in the files")

// errMoved says that another feed has replaced the stream while this one looked at it.
var errMoved = errors.New("the stream has changed")

// chain is what a feed needs of a chain in files.
type chain interface {
	// Refresh reads what the files have gained.
	Refresh(ctx context.Context) error
	// First and Tip are the heights between which there are blocks, both included.
	First() uint64
	Tip() uint64
	// Hash gives the hash of the block at a height.
	Hash(number uint64) (hash string, ok bool)
	// Block reads the block at a height. Ascending heights are read fastest.
	Block(ctx context.Context, number uint64) (events.Block, error)
}

// feed appends a chain's blocks to its stream. Everything that it knows of the stream it reads from the servers, so that
// it resumes after a crash, and beside other feeds of the same stream.
type feed struct {
	cfg      Config
	chain    chain
	redis    *redisstream.Client
	store    *postgres.Store
	log      *slog.Logger
	progress *progress
	now      func() time.Time

	registered bool           // the stream is in the store
	lowest     watermark.Mark // of the functions that read the stream, as it was last seen
	end        events.ID      // of the stream, as it was last seen; 0-0 where it is empty
	refreshed  time.Time      // when the files were last searched for blocks
	checked    time.Time      // when the stream was last searched for losses
	pending    []events.Entry // that were read from the files and may not have been appended
	nextBatch  time.Time      // not before, to keep the rate
}

// outcome is why a feed stopped appending.
type outcome int

const (
	fed  outcome = iota + 1 // the stream has all blocks
	full                    // the functions are too far behind
	due                     // the stream has to be searched for losses again
)

const (
	fullPause   = 300 * time.Millisecond
	fencedPause = time.Second // at most, between two feeds of one stream
)

// id is the entry id of the block at a height, in the first epoch.
func id(number uint64) events.ID { return events.ID{Minor: number + 1} }

// run feeds until everything is in the stream or, following, until the context ends. It outlasts failures of the servers
// and fails with errForeign, with [postgres.ErrStream], or where files are damaged or short that nobody writes any more.
func (f *feed) run(ctx context.Context) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = 200*time.Millisecond, 15*time.Second
	f.progress.start(f.now())
	for ctx.Err() == nil {
		reached, err := f.work(ctx)
		if ctx.Err() != nil {
			break
		}
		pause, done, err := f.rest(ctx, reached, err, waits)
		if done || err != nil {
			return err
		}
		f.progress.report(ctx, f.log, f.now())
		_ = sleep(ctx, pause) // the loop looks at the context
	}
	f.log.InfoContext(context.WithoutCancel(ctx), "feed stops", "stream", f.cfg.Stream, "end", f.end)
	return nil //nolint:nilerr // what failed because the context has ended is no failure
}

// rest tells how long to pause after work, or that all is done. Its error ends the feed.
func (f *feed) rest(
	ctx context.Context, reached outcome, failed error, waits *backoff.ExponentialBackOff,
) (pause time.Duration, done bool, err error) {
	_, fenced := errors.AsType[*redisstream.FencedError](failed)
	switch {
	case failed == nil:
		waits.Reset()
	case fenced, errors.Is(failed, errMoved):
		f.progress.fenced.Inc()
		f.log.InfoContext(ctx, "another feed writes to this stream", "reason", failed)
		return rand.N(fencedPause), false, nil //nolint:gosec // jitter
	case errors.Is(failed, errBeyond) && f.cfg.Follow:
		f.refreshed = time.Time{} // the files may have it by now
		pause = waits.NextBackOff()
		level := slog.LevelInfo
		if pause > f.cfg.Interval { // it is not a matter of who has looked first
			level = slog.LevelWarn
		}
		f.log.Log(ctx, level, "the stream is ahead of the files, looking again", "reason", failed, "pause", pause)
		return pause, false, nil
	case f.isFinal(failed):
		return 0, false, failed
	default:
		pause = waits.NextBackOff()
		f.progress.failed(failed)
		f.log.WarnContext(ctx, "cannot feed, trying again", "error", failed, "advice", advice(failed), "pause", pause)
		return pause, false, nil
	}
	switch reached {
	case fed:
		if !f.cfg.Follow {
			f.progress.summarise(ctx, f.log, f.now())
		}
		return f.cfg.Interval, !f.cfg.Follow, nil
	case full:
		return fullPause, false, nil
	case due:
	}
	return 0, false, nil
}

// work finds the stream's end, mends what was lost, appends.
func (f *feed) work(ctx context.Context) (outcome, error) {
	if now := f.now(); now.Sub(f.refreshed) >= f.cfg.Interval {
		if err := f.chain.Refresh(ctx); err != nil {
			return 0, failure{ofFiles, err}
		}
		f.refreshed = now
	}
	if err := f.locate(ctx); err != nil {
		return 0, err
	}
	f.progress.located(f.end, f.chain.Tip(), f.unapplied())
	return f.advance(ctx)
}

// top is the height up to which there are enough confirmations; false where not even the first block has them.
func (f *feed) top() (uint64, bool) {
	first, tip := f.chain.First(), f.chain.Tip()
	if tip-first < f.cfg.Confirmations {
		return 0, false
	}
	return tip - f.cfg.Confirmations, true
}

// next is the height of the block after the stream's end.
func (f *feed) next() uint64 { return max(f.end.Minor, f.chain.First()) }

// advance appends batches.
func (f *feed) advance(ctx context.Context) (outcome, error) {
	top, ok := f.top()
	for ok && f.next() <= top {
		room := f.cfg.Limit - f.unapplied()
		switch {
		case f.now().Sub(f.checked) >= f.cfg.Interval:
			return due, nil
		case room <= 0:
			return full, nil
		}
		if err := f.pace(ctx); err != nil {
			return 0, err
		}
		batch, err := f.batch(ctx, f.next(), min(room, f.most()))
		if err != nil {
			return 0, err
		}
		if err := f.redis.Append(ctx, f.cfg.Stream, f.end, batch); err != nil {
			return 0, failure{ofRedis, fmt.Errorf("append to %s after %s: %w", f.cfg.Stream, f.end, err)}
		}
		f.appended(batch)
		f.progress.report(ctx, f.log, f.now())
	}
	return fed, nil
}

// unapplied counts the entries above the lowest watermark, including those that the stream may have lost.
func (f *feed) unapplied() int {
	from := max(f.lowest.ID.Minor, f.chain.First())
	if f.end.Minor <= from {
		return 0
	}
	return int(f.end.Minor - from) //nolint:gosec // about the limit
}

func (f *feed) appended(batch []events.Entry) {
	f.end = batch[len(batch)-1].ID
	f.pending = f.pending[len(batch):]
	if now := f.now(); f.cfg.Rate > 0 {
		if f.nextBatch.Before(now) {
			f.nextBatch = now
		}
		f.nextBatch = f.nextBatch.Add(time.Duration(float64(len(batch)) / f.cfg.Rate * float64(time.Second)))
	}
	f.progress.appended(len(batch), f.end, f.unapplied())
}

// batch reads the blocks from a height on, at least one of them. They stay pending until they are appended, since reading
// a lower height again may take long.
func (f *feed) batch(ctx context.Context, from uint64, most int) ([]events.Entry, error) {
	f.keepPending(from)
	top, _ := f.top()
	size := 0
	for i := range f.pending {
		size += entrySize(f.pending[i])
	}
	for number := from + uint64(len(f.pending)); number <= top; number++ {
		if len(f.pending) > 0 && (len(f.pending) >= most || size >= f.cfg.BatchBytes) {
			break
		}
		block, err := f.chain.Block(ctx, number)
		if err != nil {
			return nil, failure{ofFiles, fmt.Errorf("read block %d: %w", number, err)}
		}
		block.Chain = f.cfg.Chain
		entry, err := events.NewBlockEntry(id(number), block, f.now())
		if err != nil {
			return nil, failure{ofFiles, err}
		}
		f.pending = append(f.pending, entry)
		size += entrySize(entry)
	}
	return f.pending[:min(len(f.pending), most)], nil
}

// keepPending drops the pending entries below a height, and all of them where they do not begin there or are of another
// branch by now.
func (f *feed) keepPending(from uint64) {
	for len(f.pending) > 0 && f.pending[0].ID.Compare(id(from)) < 0 {
		f.pending = f.pending[1:]
	}
	if len(f.pending) == 0 {
		return
	}
	last := f.pending[len(f.pending)-1]
	hash, _ := f.chain.Hash(last.ID.Minor - 1)
	if f.pending[0].ID != id(from) || last.ContentHash() != hash {
		f.pending = nil
	}
}

func entrySize(entry events.Entry) (bytes int) {
	for _, field := range entry.Fields {
		bytes += len(field.Name) + len(field.Value)
	}
	return bytes
}

// most is how many entries a batch may have: a tenth of a second's, where there is a rate.
func (f *feed) most() int {
	if f.cfg.Rate == 0 {
		return f.cfg.BatchEntries
	}
	return max(1, min(f.cfg.BatchEntries, int(f.cfg.Rate/10)))
}

// pace waits until the rate allows another batch.
func (f *feed) pace(ctx context.Context) error {
	return sleep(ctx, f.nextBatch.Sub(f.now()))
}

func sleep(ctx context.Context, pause time.Duration) error {
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
