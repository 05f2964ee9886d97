// Package load appends the entries of files to a stream: what the stream has already is compared, what it lacks is added.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	Lost(ctx context.Context, stream string, marks []watermark.Mark) (reason string, err error)
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
		if err == nil || fenced {
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

	info    redisstream.Info // of the stream, as it was last asked for
	end     events.ID        // of the stream
	below   int64            // rows that lie below what the stream still has
	lowest  watermark.Mark   // of its functions
	room    int64            // entries that may be appended before the watermarks are looked at again
	healing bool             // the stream is to be replaced, from the row from on
	from    events.ID        // the lowest watermark's own entry
	skipped uint64           // rows below that one
	page    []events.Entry   // of the stream, from the id that was looked for last
	batch   []pending
	size    int // of the batch in bytes
}

// pending is an entry that is to be appended.
type pending struct {
	entry events.Entry
	row   row.Row
}

// pass reads the files once; twice where the stream has to be filled again.
func (l *load) pass(ctx context.Context) error {
	lost, err := l.locate(ctx)
	if err != nil {
		return err
	}
	if lost != "" {
		if err := l.survey(ctx, lost); err != nil {
			return err
		}
	}
	entries, err := l.cfg.Open(ctx)
	if err != nil {
		return err
	}
	err = l.all(ctx, entries)
	return errors.Join(err, entries.Close())
}

// locate finds out where the stream ends, how far it is applied, and what it has lost that a function needs.
func (l *load) locate(ctx context.Context) (lost string, err error) {
	l.page, l.batch, l.size, l.healing, l.skipped, l.below, l.room = nil, nil, 0, false, 0, 0, 0
	if err := l.persist(ctx, func() error { return l.redis.Announce(ctx, l.cfg.Stream) }); err != nil {
		return "", err
	}
	marks, err := l.look(ctx)
	if err != nil {
		return "", err
	}
	l.end = l.info.Last
	err = l.persist(ctx, func() (err error) {
		lost, err = l.redis.Lost(ctx, l.cfg.Stream, marks)
		return err
	})
	return lost, err
}

// look asks the servers for the stream and the watermarks, of which it keeps the lowest.
func (l *load) look(ctx context.Context) (marks []watermark.Mark, err error) {
	if err = l.persist(ctx, func() (err error) {
		marks, err = l.cfg.Marks(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	l.lowest = watermark.Lowest(marks)
	return marks, l.persist(ctx, func() (err error) {
		l.info, err = l.redis.Info(ctx, l.cfg.Stream)
		return err
	})
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
	return l.flush(ctx)
}

// one compares an entry with the stream's, or adds it to the batch.
func (l *load) one(ctx context.Context, entry events.Entry, r row.Row) error {
	switch {
	case l.healing && entry.ID.Compare(l.from) < 0:
		return nil
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
	held, ok, err := l.held(ctx, entry.ID)
	known := ok && held.ID == entry.ID
	if err == nil && !known {
		known, err = l.applied(ctx, entry.ID)
	}
	switch {
	case err != nil:
		return err
	case !known:
		return r.Refuse("%w: its id is %s, which the stream does not have, and the stream has gone on to %s: rows cannot be put "+
			"before others that were fed", ErrDiffers, entry.ID, l.end)
	case ok && held.ID == entry.ID && held.ContentHash() != entry.ContentHash():
		return r.Refuse("%w: its id %s is in the stream with other content", ErrDiffers, entry.ID)
	}
	l.progress.Known++
	if l.progress.Known%pageEntries == 0 {
		l.report("")
	}
	return nil
}

// applied tells whether an entry that the stream does not have is one of those at its beginning that all functions have
// applied, and that were removed since. Their contents cannot be compared any more, only their number.
func (l *load) applied(ctx context.Context, id events.ID) (bool, error) {
	if id.Compare(l.info.First) >= 0 { // unless it was removed just now
		if _, err := l.look(ctx); err != nil {
			return false, err
		}
	}
	l.below++
	return id.Compare(l.info.First) < 0 && id.Compare(l.lowest.ID) < 0 && l.below <= l.info.Removed(), nil
}

// held gives the first entry of the stream from an id on, false where there is none. Ids are looked for in ascending order.
func (l *load) held(ctx context.Context, from events.ID) (held events.Entry, ok bool, err error) {
	for len(l.page) > 0 && l.page[0].ID.Compare(from) < 0 {
		l.page = l.page[1:]
	}
	if len(l.page) == 0 && from.Compare(l.end) <= 0 {
		err = l.persist(ctx, func() (err error) {
			l.page, err = l.redis.Range(ctx, l.cfg.Stream, from, events.ID{}, pageEntries)
			return err
		})
	}
	if err != nil || len(l.page) == 0 {
		return events.Entry{}, false, err
	}
	return l.page[0], true, nil
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
		if _, err := l.look(ctx); err != nil {
			return err
		}
		behind := l.info.Behind(l.lowest.ID)
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
