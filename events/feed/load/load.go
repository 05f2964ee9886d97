// Package load appends the entries of files to a stream: what the stream has already is compared, what it lacks is added.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Entries gives entries in ascending order of their ids, each with the row that it comes from, and [io.EOF] after the last.
type Entries interface {
	Next() (events.Entry, row.Row, error)
	Close() error
}

// Stream is what a load needs of the buffer.
type Stream interface {
	Info(ctx context.Context, stream string) (redisstream.Info, error)
	Range(ctx context.Context, stream string, from, to events.ID, count int64) ([]events.Entry, error)
	Check(ctx context.Context, stream string, mark watermark.Mark) error
	Append(ctx context.Context, stream string, after events.ID, entries []events.Entry) error
	Replace(ctx context.Context, stream string, last events.ID, before uint64, entries []events.Entry) error
	Announce(ctx context.Context, stream string) error
}

var _ Stream = (*redisstream.Client)(nil)

// Config is how a load works.
type Config struct {
	Stream string
	Limit  int64 // entries that may lie above the lowest watermark of the stream's functions; then the load waits
	// Open opens the files from their beginning. A load asks for that again after another feed wrote to the stream, or
	// where the stream has to be filled again.
	Open func(ctx context.Context) (Entries, error)
	// Marks gives the watermarks of the functions that read the stream.
	Marks func(ctx context.Context) ([]watermark.Mark, error)
	// Report is told how far the load is, after each batch and while it waits.
	Report func(Progress)
}

// Progress is how far a load is.
type Progress struct {
	Added, Known int64  // entries that were appended; that the stream had already
	Waiting      string // why nothing is appended at the moment; empty where something is
}

// Bounds of a batch.
const (
	batchEntries = 500
	batchBytes   = 4 << 20
	pageEntries  = 500 // of the stream that are compared at once
	fullPause    = 300 * time.Millisecond
)

// ErrDiffers says that the stream holds something else under a row's id, or nothing where it has gone on since.
var ErrDiffers = errors.New("the stream differs from the file")

// errAgain says that the files have to be read from their beginning.
var errAgain = errors.New("the stream has changed")

// Run loads everything. It outlasts failures of Redis and of Marks, until ctx ends, and fails with [ErrDiffers], a
// [*row.Error], or what Open fails with.
func Run(ctx context.Context, cfg Config, stream Stream) (Progress, error) {
	l := &load{cfg: cfg, redis: stream}
	for {
		err := l.pass(ctx)
		if ctx.Err() != nil {
			return l.progress, ctx.Err()
		}
		if !errors.Is(err, errAgain) {
			return l.progress, err
		}
	}
}

// persist calls a server until it answers.
func (l *load) persist(ctx context.Context, call func() error) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = 200*time.Millisecond, 15*time.Second
	for {
		err := call()
		_, fenced := errors.AsType[*redisstream.FencedError](err)
		_, lost := errors.AsType[*redisstream.LossError](err)
		if err == nil || fenced || lost {
			return err
		}
		l.report(err.Error())
		if err := sleep(ctx, waits.NextBackOff()); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// load is a load under way.
type load struct {
	cfg      Config
	redis    Stream
	progress Progress

	end     events.ID      // of the stream
	lowest  watermark.Mark // of its functions
	room    int64          // entries that may be appended before the watermarks are looked at again
	healing bool           // the stream is to be replaced, from the lowest watermark's own entry on
	skipped uint64         // entries below that one
	page    []events.Entry // of the stream, from the id that was compared last
	batch   []pending
	size    int // of the batch in bytes
}

// pending is an entry that is to be appended.
type pending struct {
	entry events.Entry
	row   row.Row
}

// pass reads the files once.
func (l *load) pass(ctx context.Context) error {
	if err := l.locate(ctx); err != nil {
		return err
	}
	entries, err := l.cfg.Open(ctx)
	if err != nil {
		return err
	}
	err = l.all(ctx, entries)
	return errors.Join(err, entries.Close())
}

// locate finds out where the stream ends, how far it is applied, and whether it has lost something that a function needs.
func (l *load) locate(ctx context.Context) error {
	l.page, l.batch, l.size, l.healing, l.skipped, l.room = nil, nil, 0, false, 0, 0
	if err := l.persist(ctx, func() error { return l.redis.Announce(ctx, l.cfg.Stream) }); err != nil {
		return err
	}
	info, err := l.info(ctx)
	if err != nil {
		return err
	}
	marks, err := l.marks(ctx)
	if err != nil {
		return err
	}
	l.end = info.Last
	for _, mark := range marks {
		if mark.ID.IsZero() {
			continue
		}
		err := l.persist(ctx, func() error { return l.redis.Check(ctx, l.cfg.Stream, mark) })
		if _, lost := errors.AsType[*redisstream.LossError](err); lost {
			l.healing = true
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (l *load) info(ctx context.Context) (info redisstream.Info, err error) {
	err = l.persist(ctx, func() (err error) {
		info, err = l.redis.Info(ctx, l.cfg.Stream)
		return err
	})
	return info, err
}

// marks reads the watermarks, and keeps the lowest.
func (l *load) marks(ctx context.Context) (marks []watermark.Mark, err error) {
	if err = l.persist(ctx, func() (err error) {
		marks, err = l.cfg.Marks(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	l.lowest = watermark.Mark{}
	if len(marks) > 0 {
		l.lowest = slices.MinFunc(marks, func(a, b watermark.Mark) int { return a.ID.Compare(b.ID) })
	}
	return marks, nil
}

func (l *load) all(ctx context.Context, entries Entries) error {
	for {
		entry, r, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, l.flush(ctx)) // what is good before the row is kept
		}
		if err := l.one(ctx, entry, r); err != nil {
			return err
		}
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	if l.healing {
		return fmt.Errorf("%w: it has lost entries from %s on, which a function has applied, and the file has none from there",
			ErrDiffers, l.lowest.ID)
	}
	return nil
}

// one compares an entry with the stream's, or adds it to the batch.
func (l *load) one(ctx context.Context, entry events.Entry, r row.Row) error {
	switch {
	case l.healing && len(l.batch) == 0 && entry.ID.Compare(l.lowest.ID) < 0:
		l.skipped++
		return nil
	case l.healing && len(l.batch) == 0 && !l.lowest.ID.IsZero() &&
		(entry.ID != l.lowest.ID || entry.ContentHash() != l.lowest.Hash):
		return r.Refuse("%w: the stream has lost entries, and the last one that a function has applied, %s, is not this row, %s",
			ErrDiffers, l.lowest.ID, entry.ID)
	case !l.healing && entry.ID.Compare(l.end) <= 0:
		return l.compare(ctx, entry, r)
	}
	l.batch = append(l.batch, pending{entry, r})
	for _, f := range entry.Fields {
		l.size += len(f.Name) + len(f.Value)
	}
	if len(l.batch) < batchEntries && l.size < batchBytes {
		return nil
	}
	return l.flush(ctx)
}

// compare looks for an entry in the stream.
func (l *load) compare(ctx context.Context, entry events.Entry, r row.Row) error {
	for len(l.page) > 0 && l.page[0].ID.Compare(entry.ID) < 0 {
		l.page = l.page[1:]
	}
	if len(l.page) == 0 {
		if err := l.read(ctx, entry.ID); err != nil {
			return err
		}
	}
	switch {
	case len(l.page) == 0 || l.page[0].ID != entry.ID:
		return r.Refuse("%w: its id is %s, which the stream does not have, and the stream has gone on to %s: rows cannot be put "+
			"before others that were fed", ErrDiffers, entry.ID, l.end)
	case l.page[0].ContentHash() != entry.ContentHash():
		return r.Refuse("%w: its id %s is in the stream with other content", ErrDiffers, entry.ID)
	}
	l.progress.Known++
	if l.progress.Known%pageEntries == 0 {
		l.report("")
	}
	return nil
}

// read reads a page of the stream.
func (l *load) read(ctx context.Context, from events.ID) error {
	return l.persist(ctx, func() (err error) {
		l.page, err = l.redis.Range(ctx, l.cfg.Stream, from, events.ID{}, pageEntries)
		return err
	})
}

// flush appends the batch, once there is room for it. Where another feed was faster, only what that has left.
func (l *load) flush(ctx context.Context) error {
	for len(l.batch) > 0 {
		if err := l.await(ctx); err != nil {
			return err
		}
		entries := make([]events.Entry, len(l.batch))
		for i, p := range l.batch {
			entries[i] = p.entry
		}
		err := l.persist(ctx, func() error {
			if l.healing {
				return l.redis.Replace(ctx, l.cfg.Stream, l.end, l.skipped, entries)
			}
			return l.redis.Append(ctx, l.cfg.Stream, l.end, entries)
		})
		if fenced, ok := errors.AsType[*redisstream.FencedError](err); ok {
			if err := l.fenced(ctx, fenced.Last); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		n := int64(len(entries))
		l.end, l.healing = entries[n-1].ID, false
		l.progress.Added += n
		l.room -= n
		l.batch, l.size = nil, 0
		l.report("")
	}
	return nil
}

// fenced goes on where the stream ends now. Another feed was faster; or an attempt of this one was carried out, and its
// answer lost: then what it added counts as known.
func (l *load) fenced(ctx context.Context, end events.ID) error {
	if l.healing || end.Compare(l.end) < 0 {
		return errAgain
	}
	pending := l.batch
	l.end, l.room, l.page, l.batch, l.size = end, 0, nil, nil, 0
	for _, p := range pending {
		if err := l.one(ctx, p.entry, p.row); err != nil {
			return err
		}
	}
	return nil
}

// await waits until fewer entries than the limit lie above the lowest watermark.
func (l *load) await(ctx context.Context) error {
	for l.room <= 0 {
		if _, err := l.marks(ctx); err != nil {
			return err
		}
		info, err := l.info(ctx)
		if err != nil {
			return err
		}
		behind := info.Behind(l.lowest.ID)
		if l.room = l.cfg.Limit - behind; l.room > 0 {
			return nil
		}
		l.report(fmt.Sprintf("functions have %d entries to apply", behind))
		if err := sleep(ctx, fullPause); err != nil {
			return err
		}
	}
	return nil
}

// report tells how far the load is, with the reason for which it waits.
func (l *load) report(waiting string) {
	l.progress.Waiting = waiting
	l.cfg.Report(l.progress)
}
