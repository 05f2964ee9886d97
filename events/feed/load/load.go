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
	Replace(ctx context.Context, stream string, seen redisstream.Info, before uint64, end events.ID, entries []events.Entry) error
	Refill(ctx context.Context, stream string, after, end events.ID, entries []events.Entry) error
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
	Once bool // the files can be opened once only, so that a stream that has lost entries cannot be filled again
	// Marks gives the watermarks of the functions that read the stream.
	Marks func(ctx context.Context) ([]watermark.Mark, error)
	// Report is told how far the load is, after each batch and while it waits.
	Report func(Progress)
}

// Progress is how far a load is.
type Progress struct {
	Added, Known int64  // entries that were appended; that the stream had already
	Note         string // what is done instead of appending, or waited for, at the moment
}

// Bounds of a batch.
const (
	batchEntries = 500
	batchBytes   = 4 << 20
	firstPage    = 16  // entries of the stream that are compared at first
	pageEntries  = 500 // the most; fewer where they are large
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
	return Persist(ctx, l.report, call)
}

// Persist calls a server until it answers, or ctx ends. An answer is also [*redisstream.FencedError]. It tells what it waits for.
func Persist(ctx context.Context, tell func(string), call func() error) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = 200*time.Millisecond, 15*time.Second
	for {
		err := call()
		_, fenced := errors.AsType[*redisstream.FencedError](err)
		if err == nil || fenced {
			return err
		}
		tell("waiting: " + err.Error())
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

	info    redisstream.Info // of the stream, as it was when it was located
	lowest  watermark.Mark   // of its functions, at that time
	end     events.ID        // of the stream: what lies after it is appended
	refill  *refill          // nil: the stream has lost nothing
	missing missing
	page    []events.Entry // of the stream, from the id that was looked for last
	most    int64          // entries of the next page
	linked  bool           // what is appended first follows the stream's last entry
	room    int64          // entries that may be appended before the watermarks are looked at again
	batch   []pending
	size    int // of the batch in bytes
}

// missing are rows that the stream does not have because every function has applied them, and they were removed since.
type missing struct {
	first row.Row
	count int64
	ended bool // a row that the stream has came after them
}

// pending is an entry that is to be appended.
type pending struct {
	entry events.Entry
	row   row.Row
}

// pass reads the files once; twice where the stream has to be filled again.
func (l *load) pass(ctx context.Context) error {
	*l = load{cfg: l.cfg, redis: l.redis, progress: l.progress, most: firstPage}
	lost, marks, err := l.locate(ctx)
	if err != nil {
		return err
	}
	if lost != "" {
		if err := l.survey(ctx, lost, marks); err != nil {
			return err
		}
	}
	return l.read(ctx, l.one, l.finish)
}

// read gives each entry of the files to take, and calls done after the last one, also where the next row is wrong.
func (l *load) read(
	ctx context.Context, take func(context.Context, events.Entry, row.Row) error, done func(context.Context) error,
) error {
	entries, err := l.cfg.Open(ctx)
	if err != nil {
		return err
	}
	for {
		entry, r, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF):
			return errors.Join(done(ctx), entries.Close())
		case err != nil:
			return errors.Join(err, done(ctx), entries.Close())
		}
		if err := take(ctx, entry, r); err != nil {
			return errors.Join(err, entries.Close())
		}
	}
}

// locate finds out where the stream ends, how far it is applied, and what it has lost that a function needs.
func (l *load) locate(ctx context.Context) (lost string, marks []watermark.Mark, err error) {
	if err := l.persist(ctx, func() error { return l.redis.Announce(ctx, l.cfg.Stream) }); err != nil {
		return "", nil, err
	}
	for {
		if marks, l.info, err = l.look(ctx); err != nil {
			return "", nil, err
		}
		l.lowest, l.end = watermark.Lowest(marks), l.info.Last
		if err := l.persist(ctx, func() (err error) {
			lost, err = l.redis.Lost(ctx, l.cfg.Stream, marks)
			return err
		}); err != nil || lost == "" {
			return "", nil, err
		}
		// What was applied meanwhile may have been trimmed.
		again, _, err := l.look(ctx)
		if err != nil || watermark.Lowest(again).ID == l.lowest.ID {
			return lost, marks, err
		}
	}
}

// look asks the servers for the watermarks and the stream.
func (l *load) look(ctx context.Context) (marks []watermark.Mark, info redisstream.Info, err error) {
	if err = l.persist(ctx, func() (err error) {
		marks, err = l.cfg.Marks(ctx)
		return err
	}); err != nil {
		return nil, info, err
	}
	return marks, info, l.persist(ctx, func() (err error) {
		info, err = l.redis.Info(ctx, l.cfg.Stream)
		return err
	})
}

// one compares an entry with the stream's, or adds it to the batch.
func (l *load) one(ctx context.Context, entry events.Entry, r row.Row) error {
	if l.missing.count > 0 && entry.ID.Compare(l.lowest.ID) >= 0 {
		l.missing.ended = true
		if err := l.settle(ctx); err != nil {
			return err
		}
	}
	switch {
	case l.refill != nil && entry.ID.Compare(l.refill.from) < 0:
		return nil
	case l.refill == nil && entry.ID.Compare(l.end) <= 0:
		return l.compare(ctx, entry, r)
	}
	if len(entry.Fields) > redisstream.MaxAppendFields {
		return r.Refuse("it has %d values, at most %d can be appended", len(entry.Fields), redisstream.MaxAppendFields)
	}
	if err := l.follows(ctx, entry, r); err != nil {
		return err
	}
	l.batch = append(l.batch, pending{entry, r})
	l.size += size(entry)
	if len(l.batch) < batchEntries && l.size < batchBytes {
		return nil
	}
	return l.flush(ctx)
}

// compare looks for an entry in the stream.
func (l *load) compare(ctx context.Context, entry events.Entry, r row.Row) error {
	held, ok, err := l.held(ctx, entry.ID)
	switch {
	case err != nil:
		return err
	case ok && held.ID == entry.ID && !same(held, entry):
		return r.Refuse("%w: its id %s is in the stream with other content", ErrDiffers, entry.ID)
	case ok && held.ID == entry.ID:
		l.missing.ended = true
	case entry.ID.Compare(l.lowest.ID) < 0:
		if l.missing.count++; l.missing.count == 1 {
			l.missing.first = r
		}
		l.missing.ended = false
	default:
		return l.unlessChanged(ctx, r.Refuse("%w: its id is %s, which the stream does not have, and the stream has gone on to %s: "+
			"rows cannot be put before others that were fed", ErrDiffers, entry.ID, l.end))
	}
	l.progress.Known++
	if l.progress.Known%pageEntries == 0 {
		l.report("")
	}
	return nil
}

// same compares contents. A block's hash says nothing of what was exported of it.
func same(a, b events.Entry) bool {
	return a.ContentHash() == b.ContentHash() && data(a) == data(b)
}

func data(entry events.Entry) string {
	for _, f := range entry.Fields {
		if f.Name == events.FieldData {
			return f.Value
		}
	}
	return ""
}

// follows verifies that the first block to be appended is the child of the last one of the stream.
func (l *load) follows(ctx context.Context, entry events.Entry, r row.Row) error {
	if l.linked || l.refill != nil || l.end.IsZero() {
		return nil
	}
	l.linked = true
	last, ok, err := l.held(ctx, l.end)
	if err != nil {
		return err
	}
	if !ok || last.ID != l.end {
		return errAgain // it was removed meanwhile
	}
	tip, _ := last.Link()
	if _, parent := entry.Link(); tip != "" && parent != "" && tip != parent {
		return r.Refuse("%w: its block %s is the child of %s, the stream ends with %s, of entry %s: feed what lies between first, and "+
			"blocks of one branch only", ErrDiffers, entry.ID, parent, tip, l.end)
	}
	return nil
}

func size(entry events.Entry) (bytes int) {
	for _, f := range entry.Fields {
		bytes += len(f.Name) + len(f.Value)
	}
	return bytes
}

// settle verifies the rows that the stream does not have any more, once there can be no further one: their contents cannot
// be compared, but their number can.
func (l *load) settle(ctx context.Context) error {
	_, now, err := l.look(ctx)
	if err != nil {
		return err
	}
	found := l.missing
	if l.missing = (missing{}); found.ended && l.info.Removed() <= found.count && found.count <= now.Removed() {
		return nil
	}
	return l.unlessChanged(ctx, found.first.Refuse("%w: this row and %d that follow are not in the stream, which has lost %d that "+
		"every function has applied: whether they are the same cannot be told; feed all its files at once, or what comes after %s",
		ErrDiffers, found.count-1, l.info.Removed(), l.end))
}

// unlessChanged gives a refusal, or errAgain where the stream is not any more what it was when it was located: it may have
// lost something, or another feed may be filling it again.
func (l *load) unlessChanged(ctx context.Context, refusal error) error {
	_, now, err := l.look(ctx)
	if err != nil {
		return err
	}
	if now.LastEntry.Compare(l.info.LastEntry) < 0 || now.First != l.info.First || now.Removed() != l.info.Removed() {
		return errAgain
	}
	return refusal
}

// held gives the first entry of the stream from an id on, false where there is none. Ids are looked for in ascending order.
func (l *load) held(ctx context.Context, from events.ID) (held events.Entry, ok bool, err error) {
	for len(l.page) > 0 && l.page[0].ID.Compare(from) < 0 {
		l.page = l.page[1:]
	}
	if len(l.page) == 0 && from.Compare(l.end) <= 0 {
		err = l.persist(ctx, func() (err error) {
			l.page, err = l.redis.Range(ctx, l.cfg.Stream, from, events.ID{}, l.most)
			return err
		})
		bytes := 0
		for _, entry := range l.page {
			bytes += size(entry)
		}
		l.most = min(pageEntries, 4*l.most, max(1, int64(batchBytes*len(l.page)/max(1, bytes))))
	}
	if err != nil || len(l.page) == 0 {
		return events.Entry{}, false, err
	}
	return l.page[0], true, nil
}

// finish appends what is left.
func (l *load) finish(ctx context.Context) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	if l.missing.count > 0 { // the files end before what functions have still to apply
		return l.settle(ctx)
	}
	if l.refill != nil {
		return fmt.Errorf("%w: the file was changed while it was read", ErrDiffers)
	}
	return nil
}

// flush appends the batch, once there is room for it. Where another feed was faster, only what that has left.
func (l *load) flush(ctx context.Context) error {
	for len(l.batch) > 0 {
		if err := l.await(ctx); err != nil {
			return err
		}
		var entries []events.Entry
		for _, p := range l.batch {
			if l.refill == nil || p.entry.ID.Compare(l.refill.end) <= 0 {
				entries = append(entries, p.entry)
			}
		}
		err := l.persist(ctx, func() error { return l.append(ctx, entries) })
		if fenced, ok := errors.AsType[*redisstream.FencedError](err); ok {
			if err := l.fenced(ctx, fenced.Last); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		l.appended(entries)
	}
	return nil
}

func (l *load) append(ctx context.Context, entries []events.Entry) error {
	switch r := l.refill; {
	case r == nil:
		return l.redis.Append(ctx, l.cfg.Stream, l.end, entries)
	case !r.begun:
		return l.redis.Replace(ctx, l.cfg.Stream, l.info, r.before, r.end, entries)
	default:
		return l.redis.Refill(ctx, l.cfg.Stream, l.end, r.end, entries)
	}
}

func (l *load) appended(entries []events.Entry) {
	l.end = entries[len(entries)-1].ID
	if r := l.refill; r != nil {
		if r.begun = true; l.end == r.end {
			l.refill = nil
		}
	}
	l.room -= int64(len(entries))
	l.batch, l.size = l.batch[len(entries):], 0
	l.progress.Added += int64(len(entries))
	l.report("")
}

// fenced goes on where the stream ends now. Another feed was faster; or an attempt of this one was carried out, and its
// answer lost: then what it added counts as known.
func (l *load) fenced(ctx context.Context, end events.ID) error {
	if l.refill != nil || end.Compare(l.end) <= 0 {
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

// await waits until fewer entries than the limit lie above the lowest watermark. What replaces the stream's entries is not
// kept back by them: functions may need it to go on.
func (l *load) await(ctx context.Context) error {
	for l.room <= 0 && (l.refill == nil || l.refill.begun) {
		marks, info, err := l.look(ctx)
		if err != nil {
			return err
		}
		behind := info.Behind(watermark.Lowest(marks).ID)
		if l.room = l.cfg.Limit - behind; l.room > 0 {
			return nil
		}
		l.report(fmt.Sprintf("waiting: functions have %d entries to apply", behind))
		if err := sleep(ctx, fullPause); err != nil {
			return err
		}
	}
	return nil
}

// report tells how far the load is, with a note on what it does instead of appending.
func (l *load) report(note string) {
	l.progress.Note = note
	l.cfg.Report(l.progress)
}
