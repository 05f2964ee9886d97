package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

var (
	//go:embed sql/find_passed.sql
	findPassed string
	//go:embed sql/read_passed.sql
	readPassed string
	//go:embed sql/delete_passed.sql
	deletePassed string
)

// passedRange is entries that a function has passed over: those after one up to another.
type passedRange struct {
	stream       string
	after, until events.ID
}

// period is the time from one event to another.
type period struct{ First, Last time.Time }

// RequestPassed queues runs of the windows of what a function has passed over, once the archive has it, also of what was taken
// back there. Windows that become due by themselves are left to that. It fails where a definition has what this version does not
// know.
func (s *Store) RequestPassed(ctx context.Context, function string) error {
	rows, err := s.pool.Query(ctx, findPassed, function, archive.Name)
	if err != nil {
		return fmt.Errorf("find what was passed over: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r passedRange, err error) {
		err = row.Scan(&r.stream, text{&r.after}, text{&r.until})
		return r, err
	})
	if err != nil {
		return fmt.Errorf("find what was passed over: %w", err)
	}
	for _, r := range all {
		if err := s.requestPassed(ctx, function, r); err != nil {
			return fmt.Errorf("request what %s has passed over of %s after %s: %w", function, r.stream, r.after, err)
		}
	}
	return nil
}

// passedAtOnce is how many entries are looked at before the range is made shorter by them.
const passedAtOnce = 200_000

// requestPassed goes on where an earlier call was cut short, and ends where another is faster.
func (s *Store) requestPassed(ctx context.Context, function string, r passedRange) error {
	for {
		end, err := s.endOfPart(ctx, r)
		if err != nil {
			return err
		}
		if taken, err := s.requestPart(ctx, function, r, end); err != nil || !taken || end == r.until {
			return err
		}
		r.after = end
	}
}

// endOfPart gives the last entry of a range that is looked at at once.
func (s *Store) endOfPart(ctx context.Context, r passedRange) (events.ID, error) {
	const read = `select entry_major || '-' || entry_minor from archived_entries
		where stream = $1 and (entry_major, entry_minor) > ($2, $3) and (entry_major, entry_minor) <= ($4, $5)
		order by entry_major, entry_minor offset $6 limit 1`
	end := r.until
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// Nothing is sorted for this: the entries after these are not read.
		if _, err := tx.Exec(ctx, "set local enable_sort = off"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, read, r.stream, storedPart(r.after.Major), storedPart(r.after.Minor),
			storedPart(r.until.Major), storedPart(r.until.Minor), passedAtOnce-1).Scan(text{&end})
	})
	if errors.Is(err, pgx.ErrNoRows) { // it has less
		err = nil
	}
	return end, err
}

// requestPart takes from a range what lies up to an entry, for which it requests runs. It does nothing where another has done so.
func (s *Store) requestPart(ctx context.Context, function string, r passedRange, end events.ID) (taken bool, err error) {
	// The archive has the range, so that nothing of this changes.
	rows, err := s.pool.Query(ctx, readPassed, r.stream, storedPart(r.after.Major), storedPart(r.after.Minor),
		storedPart(end.Major), storedPart(end.Minor))
	if err != nil {
		return false, err
	}
	days, err := pgx.CollectRows(rows, pgx.RowToStructByPos[period])
	if err != nil {
		return false, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		at, err := lockMark(ctx, tx, function, r.stream) // before windows, as in every commit
		if err != nil {
			return err
		}
		if taken, err = r.shorten(ctx, tx, function, end); err != nil || !taken {
			return err
		}
		all, err := readCounted(ctx, tx, function, r.stream)
		if err != nil {
			return err
		}
		var opened []bucket.Key
		for _, c := range all {
			some, err := c.requestPassed(ctx, tx, days, at.low)
			if err != nil {
				return err
			}
			opened = append(opened, some...)
		}
		return requestDependents(ctx, tx, opened)
	})
	return taken, err
}

func (r passedRange) shorten(ctx context.Context, tx pgx.Tx, function string, end events.ID) (is bool, err error) {
	const move = `update pending_ranges set after_id = $5
		where function = $1 and stream = $2 and metric_id is null and after_id = $3 and until_id = $4`
	of := []any{function, r.stream, r.after.String(), r.until.String()}
	var tag pgconn.CommandTag
	if end == r.until {
		tag, err = tx.Exec(ctx, deletePassed, of...)
	} else {
		tag, err = tx.Exec(ctx, move, append(of, end.String())...)
	}
	return tag.RowsAffected() > 0, err
}

// requestPassed takes finality from the windows of events of some days, and queues runs of those that were requested as due
// before, are not due, everything having come up to a chain time, or never will be due. It gives the windows whose dependents have
// still to be opened.
func (c counted) requestPassed(ctx context.Context, tx pgx.Tx, days []period, low time.Time) ([]bucket.Key, error) {
	requested, err := requestedUntil(ctx, tx, c.metric, c.size, c.chain)
	if err != nil {
		return nil, err
	}
	due := low.Add(-c.definition.Delay())
	if from := scheduledFrom(c.definition, c.created, c.size); from.After(requested) {
		requested = from // windows before that are left to nobody
	}
	var concerned, windows []time.Time
	var until time.Time // the end of the last window, into which several periods may fall
	for _, p := range widen(days, c.definition.Skew()) {
		for w := range c.size.Windows(p.First, p.Last.Add(time.Microsecond)) {
			if w.Start.Before(until) {
				continue
			}
			concerned, until = append(concerned, w.Start), w.End
			if w.Start.Before(requested) || w.End.After(due) {
				windows = append(windows, w.Start)
			}
		}
	}
	for some := range slices.Chunk(concerned, requestedAtOnce) {
		if _, err := tx.Exec(ctx, openWindows, c.metric, c.size.String(), c.chain, some, events.RevisedPassed); err != nil {
			return nil, err
		}
	}
	for some := range slices.Chunk(windows, requestedAtOnce) {
		if _, err := tx.Exec(ctx, requestRuns, c.metric, c.size.String(), c.chain, some, events.RevisedPassed); err != nil {
			return nil, err
		}
	}
	return windowsOf(c.metric, c.size, c.chain, concerned), nil
}

// widen makes periods, which are in order, begin earlier and end later, and joins those between which there is less than a day.
func widen(periods []period, by time.Duration) (wide []period) {
	for _, p := range periods {
		p.First, p.Last = p.First.UTC().Add(-by), p.Last.UTC().Add(by)
		if n := len(wide); n > 0 && p.First.Sub(wide[n-1].Last) < 24*time.Hour {
			wide[n-1].Last = p.Last
			continue
		}
		wide = append(wide, p)
	}
	return wide
}
