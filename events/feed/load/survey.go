package load

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// refill is how a stream that has lost entries is filled again.
type refill struct {
	from   events.ID // the lowest watermark's own entry
	before uint64    // rows below that one
	end    events.ID // where the stream ended, and functions have come to
	begun  bool      // the stream's own entries were replaced by the first ones
}

// ErrOnce says that a stream has to be filled again from files that can be opened only once.
var ErrOnce = errors.New("the stream has lost entries, for which the files have to be read twice: name them, instead of standard input")

// survey verifies, before the stream is replaced by the files, that they have all that it ever held, as far as that can be
// told: what it still holds, what the functions have applied last, and as many rows as it counted.
type survey struct {
	*load
	lost  string
	marks []watermark.Mark // that were not found yet, ascending
	next  events.ID        // what the stream holds from here on was not found yet
	last  events.ID        // the last row
	known events.ID        // up to here the stream has counted its entries
	rows  int64            // up to there
}

// survey plans how the stream is filled again.
func (l *load) survey(ctx context.Context, lost string, marks []watermark.Mark) error {
	if l.cfg.Once {
		return ErrOnce
	}
	l.report("the stream has lost entries, comparing the file with what it still holds")
	plan := &refill{from: l.lowest.ID, end: l.info.Last}
	s := &survey{load: l, lost: lost, next: plan.from, known: counted(l.info)}
	for _, mark := range marks {
		if !mark.ID.IsZero() {
			s.marks = append(s.marks, mark)
		}
		if mark.ID.Compare(plan.end) > 0 {
			plan.end = mark.ID
		}
	}
	slices.SortFunc(s.marks, func(a, b watermark.Mark) int { return a.ID.Compare(b.ID) })
	take := func(ctx context.Context, entry events.Entry, r row.Row) error { return s.take(ctx, plan, entry, r) }
	done := func(ctx context.Context) error { return s.done(ctx, plan) }
	err := l.read(ctx, take, done)
	l.refill, l.page = plan, nil
	return err
}

// counted gives the entry up to which a stream's number of entries goes: its end, also where the last ones were deleted; its
// last entry where a load was interrupted that had begun to fill it again.
func counted(info redisstream.Info) events.ID {
	if info.Length > 0 && info.MaxDeleted.Compare(info.LastEntry) < 0 {
		return info.LastEntry
	}
	return info.Last
}

func (s *survey) take(ctx context.Context, plan *refill, entry events.Entry, r row.Row) error {
	s.last = entry.ID
	if entry.ID.Compare(s.known) <= 0 {
		s.rows++
	}
	if entry.ID.Compare(plan.from) < 0 {
		plan.before++
		return nil
	}
	for ; len(s.marks) > 0 && s.marks[0].ID.Compare(entry.ID) <= 0; s.marks = s.marks[1:] {
		if mark := s.marks[0]; mark.ID != entry.ID || mark.Hash != entry.ContentHash() {
			return s.refuse(&r, "a function has applied another row with the id %s than this one with %s", mark.ID, entry.ID)
		}
	}
	held, ok, err := s.held(ctx, s.next)
	switch {
	case err != nil:
		return err
	case ok && held.ID.Compare(entry.ID) < 0:
		return s.refuse(&r, "the stream still holds %s, which is not in the file before this row, %s", held.ID, entry.ID)
	case ok && held.ID == entry.ID && !same(held, entry):
		return s.refuse(&r, "its id %s is in the stream with other content", entry.ID)
	}
	s.next = entry.ID.Next()
	return nil
}

func (s *survey) done(ctx context.Context, plan *refill) error {
	if len(s.marks) > 0 {
		return s.refuse(nil, "a function has applied %s, which is not in it", s.marks[0].ID)
	}
	held, ok, err := s.held(ctx, s.next)
	switch {
	case err != nil:
		return err
	case ok:
		return s.refuse(nil, "the stream still holds %s, which is not in it", held.ID)
	case s.info.EntriesAdded > 0 && s.rows != s.info.EntriesAdded:
		return s.refuse(nil, "it has %d rows up to %s, the stream has held %d", s.rows, s.known, s.info.EntriesAdded)
	case s.last.Compare(plan.end) < 0:
		return s.refuse(nil, "it ends with %s, the stream ended with %s", s.last, plan.end)
	}
	return nil
}

// refuse says what the files lack, at a row where there is one.
func (s *survey) refuse(r *row.Row, format string, arguments ...any) error {
	problem := fmt.Errorf("%w: the stream has lost entries, %s, and is filled again only by all its files at once: %s",
		ErrDiffers, s.lost, fmt.Sprintf(format, arguments...))
	if r != nil {
		problem = &row.Error{Row: *r, Problem: problem}
	}
	return problem
}
