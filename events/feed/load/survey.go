package load

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// survey verifies, before a stream that has lost entries is replaced by the files, that nothing else is lost by that: they
// must have the lowest watermark's own entry, and all that the stream still holds from there on.
func (l *load) survey(ctx context.Context, lost string) error {
	l.report("the stream has lost entries, " + lost + ": comparing what it holds with the file")
	entries, err := l.cfg.Open(ctx)
	if err != nil {
		return err
	}
	l.healing, l.from = true, l.lowest.ID
	err = l.covered(ctx, lost, entries)
	l.page = nil
	return errors.Join(err, entries.Close())
}

func (l *load) covered(ctx context.Context, lost string, entries Entries) error {
	next := l.from // what the stream holds from here on was not found yet
	for {
		entry, r, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if entry.ID.Compare(l.from) < 0 {
			l.skipped++
			continue
		}
		if err := l.covers(ctx, lost, next, entry, r); err != nil {
			return err
		}
		next = events.ID{Major: entry.ID.Major, Minor: entry.ID.Minor + 1}
	}
	held, ok, err := l.held(ctx, next)
	switch {
	case err != nil:
		return err
	case ok:
		return fmt.Errorf("%w: the stream has lost entries, %s, and holds %s, which is not in the file: feed all its files at once",
			ErrDiffers, lost, held.ID)
	case next == l.from && !l.from.IsZero():
		return fmt.Errorf("%w: the stream has lost entries, %s, and the file has none from %s on, which a function has applied",
			ErrDiffers, lost, l.from)
	}
	return nil
}

// covers compares an entry of the files, from the lowest watermark's own one on, with what the stream holds from next on.
func (l *load) covers(ctx context.Context, lost string, next events.ID, entry events.Entry, r row.Row) error {
	if next == l.from && !l.from.IsZero() && (entry.ID != l.from || entry.ContentHash() != l.lowest.Hash) {
		return r.Refuse("%w: the stream has lost entries, %s, and the last one that a function has applied, %s, is not this row, %s",
			ErrDiffers, lost, l.from, entry.ID)
	}
	held, ok, err := l.held(ctx, next)
	switch {
	case err != nil:
		return err
	case ok && held.ID.Compare(entry.ID) < 0:
		return r.Refuse("%w: the stream has lost entries, %s, and holds %s, which is not in the file before this row, %s: "+
			"feed all its files at once", ErrDiffers, lost, held.ID, entry.ID)
	case ok && held.ID == entry.ID && held.ContentHash() != entry.ContentHash():
		return r.Refuse("%w: its id %s is in the stream with other content", ErrDiffers, entry.ID)
	}
	return nil
}
