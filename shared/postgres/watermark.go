package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

var (
	//go:embed sql/read_watermark.sql
	readWatermark string
	//go:embed sql/read_holes.sql
	readHoles string
	//go:embed sql/list_marks.sql
	listMarks string
	//go:embed sql/accept_holes.sql
	acceptHoles string
)

var (
	// ErrMoved says that the function has gone on meanwhile: what was found out about the mark may no longer hold.
	ErrMoved = errors.New("the watermark has moved")
	// ErrHole says that a hole lies before the mark, or ends before it begins.
	ErrHole = errors.New("no hole after the watermark")
)

// Watermark reads how far the function has applied the stream: 0-0 where there is no row. For a stream that is registered
// it makes the row, so that its feed keeps what the function still needs; other names leave nothing.
func (s *Store) Watermark(ctx context.Context, function, stream string) (watermark.Mark, error) {
	mark, err := s.mark(ctx, function, stream)
	if errors.Is(err, pgx.ErrNoRows) {
		mark, err = watermark.Mark{}, s.makeRow(ctx, enterRegistered, function, stream)
	}
	if err != nil {
		return watermark.Mark{}, fmt.Errorf("read watermark of %s on %s: %w", function, stream, err)
	}
	return mark, nil
}

func (s *Store) mark(ctx context.Context, function, stream string) (watermark.Mark, error) {
	var id, hash string
	var holes []watermark.Hole
	batch := &pgx.Batch{} // holes after the row: one that was accepted at a mark is seen with that mark
	batch.Queue(readWatermark, function, stream).QueryRow(func(row pgx.Row) error { return row.Scan(&id, &hash) })
	batch.Queue(readHoles, function, stream).Query(func(rows pgx.Rows) (err error) {
		holes, err = pgx.CollectRows(rows, scanHole)
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return watermark.Mark{}, err
	}
	return newMark(id, hash, holes)
}

func scanHole(row pgx.CollectableRow) (hole watermark.Hole, err error) {
	err = row.Scan(text{&hole.After}, text{&hole.Next}, &hole.Removed, text{&hole.First})
	return hole, err
}

// newMark keeps those holes that lie at or after the mark.
func newMark(id, hash string, holes []watermark.Hole) (watermark.Mark, error) {
	entry, err := events.ParseID(id)
	if err != nil {
		return watermark.Mark{}, err
	}
	ahead := slices.DeleteFunc(holes, func(h watermark.Hole) bool { return h.After.Compare(entry) < 0 })
	slices.SortFunc(ahead, func(a, b watermark.Hole) int { return a.After.Compare(b.After) })
	if len(ahead) == 0 {
		ahead = nil
	}
	return watermark.Mark{ID: entry, Hash: hash, Holes: ahead}, nil
}

const (
	enterAny        = "insert into stream_watermarks (function, stream) values ($1, $2) on conflict do nothing"
	enterRegistered = `insert into stream_watermarks (function, stream)
		select $1, name from streams where name = $2 on conflict do nothing`
)

// makeRow makes the row of a function and stream where there is none. It shares a lock with changes of the registry: a row
// that a change does not see gets its version after that change.
func (s *Store) makeRow(ctx context.Context, insert, function, stream string) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, shareRegistry); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insert, function, stream)
		return err
	})
}

// FunctionMark is how far a function has applied a stream.
type FunctionMark struct {
	Function, Stream string
	Mark             watermark.Mark
	LowWater         time.Time  // up to this chain time everything has come; zero where it is not known
	UpdatedAt        time.Time  // when the mark last moved
	DetachedAt       *time.Time // since when it keeps nothing from being trimmed; nil: it does
	Movable          bool       // the archive has what it has still to apply: it may be moved to the archive's mark
	Ranges           int64      // ranges that it has passed over, of which no runs were requested yet
}

// Marks lists the marks of all functions on a stream, or on all streams where it is empty, by stream and function.
func (s *Store) Marks(ctx context.Context, stream string) ([]FunctionMark, error) {
	rows, err := s.pool.Query(ctx, listMarks, stream)
	if err != nil {
		return nil, fmt.Errorf("list watermarks: %w", err)
	}
	marks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f FunctionMark, err error) {
		var id, hash string
		var low pgtype.Timestamptz
		var holes []watermark.Hole
		err = row.Scan(&f.Function, &f.Stream, &id, &hash, &low, &f.UpdatedAt, &f.DetachedAt, &f.Movable, &f.Ranges, &holes)
		if err != nil {
			return f, err
		}
		f.LowWater = finiteTime(low)
		f.Mark, err = newMark(id, hash, holes)
		return f, err
	})
	if err != nil {
		return nil, fmt.Errorf("list watermarks: %w", err)
	}
	return marks, nil
}

// Needed leaves out the functions for which nothing need be kept or put up again: those that are detached, and those that have
// nothing in the stream any more and that the archive will move to its own watermark.
func Needed(functions []FunctionMark, lacks func(events.ID) bool) []FunctionMark {
	return slices.DeleteFunc(slices.Clone(functions), func(f FunctionMark) bool {
		return f.DetachedAt != nil || f.Movable && lacks(f.Mark.ID)
	})
}

// MarksOf gives the marks alone.
func MarksOf(functions []FunctionMark) []watermark.Mark {
	marks := make([]watermark.Mark, len(functions))
	for i, f := range functions {
		marks[i] = f.Mark
	}
	return marks
}

// AcceptHoles records losses of a stream for a function whose mark is still at the given one. A hole replaces an earlier
// one after the same entry. It fails with [ErrMoved] and [ErrHole].
func (s *Store) AcceptHoles(
	ctx context.Context, function, stream string, at watermark.Mark, holes []watermark.Hole, reason string,
) error {
	for _, hole := range holes {
		if hole.After.Compare(at.ID) < 0 || hole.Next.Compare(hole.After) <= 0 {
			return fmt.Errorf("%w: from %s to %s, watermark %s", ErrHole, hole.After, hole.Next, at.ID)
		}
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		locked, err := lockMark(ctx, tx, function, stream)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: there is none", ErrMoved)
		}
		if err != nil {
			return err
		}
		if locked.mark.ID != at.ID || locked.mark.Hash != at.Hash {
			return fmt.Errorf("%w: from %s to %s", ErrMoved, at.ID, locked.mark.ID)
		}
		batch := &pgx.Batch{}
		queueHoles(batch, function, stream, reason, false, holes)
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return fmt.Errorf("accept holes of %s for %s: %w", stream, function, err)
	}
	return nil
}

// queueHoles records losses for a function, whose row is locked: healed ones, or those that a person has accepted.
func queueHoles(batch *pgx.Batch, function, stream, reason string, healed bool, holes []watermark.Hole) {
	after, next, first := make([]string, len(holes)), make([]string, len(holes)), make([]string, len(holes))
	removed := make([]int64, len(holes))
	for i, hole := range holes {
		after[i], next[i] = hole.After.String(), hole.Next.String()
		removed[i], first[i] = hole.Removed, hole.First.String()
	}
	batch.Queue(acceptHoles, function, stream, reason, healed, after, next, removed, first)
}
