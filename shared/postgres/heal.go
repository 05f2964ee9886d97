package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

var (
	//go:embed sql/find_unarchived.sql
	findUnarchived string
	//go:embed sql/lock_marks.sql
	lockMarks string
)

var _ archive.Healer = (*Store)(nil)

// Lacking implements [archive.Healer].
func (s *Store) Lacking(ctx context.Context, stream string, entries []archive.Entry) (lacking, taken []bool, err error) {
	majors, minors := make([]int64, len(entries)), make([]int64, len(entries))
	times, hashes := make([]time.Time, len(entries)), make([]string, len(entries))
	for i, e := range entries {
		majors[i], minors[i], times[i], hashes[i] = storedPart(e.ID.Major), storedPart(e.ID.Minor), e.Time, e.Hash
	}
	rows, err := s.pool.Query(ctx, findUnarchived, stream, majors, minors, times, hashes)
	if err != nil {
		return nil, nil, fmt.Errorf("compare %s with the archive: %w", stream, err)
	}
	lacking, taken = make([]bool, len(entries)), make([]bool, len(entries))
	var place int
	var other bool
	_, err = pgx.ForEachRow(rows, []any{&place, &other}, func() error {
		lacking[place-1], taken[place-1] = true, other
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("compare %s with the archive: %w", stream, err)
	}
	return lacking, taken, nil
}

// Heal implements [archive.Healer].
func (s *Store) Heal(
	ctx context.Context, request archive.Request, healing archive.Healing, decide func(archive.Current) (archive.Effects, error),
) (healed bool, err error) {
	failed := func(err error) (bool, error) { return false, fmt.Errorf("heal %s: %w", healing.Stream, err) }
	if err := s.makeMonths(ctx, request.Times); err != nil {
		return failed(err)
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		at, err := lockMark(ctx, tx, archive.Name, healing.Stream)
		if err != nil || at.mark.ID != healing.Lost.ID || at.mark.Hash != healing.Lost.Hash {
			return err
		}
		functions, err := lockReaders(ctx, tx, healing.Stream, at.mark.ID)
		if err != nil || slices.ContainsFunc(functions, func(r archive.Reader) bool { return r.Mark.ID.Compare(at.mark.ID) > 0 }) {
			return err
		}
		if err := archiveLate(ctx, tx, request, at, decide); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, r := range functions {
			queueHealed(batch, healing, at, r)
		}
		healed = true
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		s.months.forget() // retention may have removed one
		return failed(err)
	}
	return healed, nil
}

// lockReaders locks the rows of all functions of a stream, and gives them, also those that are detached, unless they stand beyond the
// archive: these apply nothing, and keep nobody from going on.
func lockReaders(ctx context.Context, tx pgx.Tx, stream string, archived events.ID) (readers []archive.Reader, err error) {
	rows, err := tx.Query(ctx, lockMarks, stream)
	if err != nil {
		return nil, err
	}
	r := archive.Reader{Stream: stream, Open: true}
	var detached bool
	_, err = pgx.ForEachRow(rows, []any{&r.Function, text{&r.Mark.ID}, &r.Movable, &detached}, func() error {
		if !detached || r.Mark.ID.Compare(archived) <= 0 {
			readers = append(readers, r)
		}
		return nil
	})
	return readers, err
}

// archiveLate archives entries below the archive's mark, and requests runs of their windows. All rows of the stream are locked, so
// that these begin after it.
func archiveLate(
	ctx context.Context, tx pgx.Tx, request archive.Request, at locked, decide func(archive.Current) (archive.Effects, error),
) error {
	if len(request.Times) == 0 {
		return nil
	}
	owners := make(delivery.Owners)
	chains, types := columns(request.Pairs)
	rows, err := tx.Query(ctx, readOwners, chains, types)
	if err != nil {
		return err
	}
	var pair delivery.Pair
	var stream string
	_, err = pgx.ForEachRow(rows, []any{&pair.Chain, &pair.EventType, &stream}, func() error { owners[pair] = stream; return nil })
	if err != nil {
		return err
	}
	effects, err := decide(archive.Current{Mark: at.mark, LowWater: at.low, Owners: owners})
	if err != nil {
		return err
	}
	if err := copyEntries(ctx, tx.Conn(), request.Stream, effects.Entries); err != nil {
		return err
	}
	if err := adopt(ctx, tx.Conn(), request.Stream, effects.Entries); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	queueClaims(batch, request.Stream, effects.Claims)
	queueLeftOut(batch, effects.LeftOut)
	queueDeadLetters(batch, request.Stream, effects.DeadLetters)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return requestWindows(ctx, tx.Conn(), effects.Entries)
}

// queueHealed has a function go on in a stream that was healed.
func queueHealed(batch *pgx.Batch, healing archive.Healing, at locked, r archive.Reader) {
	to, holes := healing.Mark, healing.Mark.Holes
	switch from := r.Mark.ID; {
	case from == to.ID:
		batch.Queue("update stream_watermarks set content_hash = $3 where function = $1 and stream = $2", r.Function, r.Stream, to.Hash)
	case r.Movable:
		if slices.Contains(healing.Late, from) {
			from = healing.Common
		}
		queuePassed(batch, r, from, to, at.low)
	default:
		lost := watermark.Hole{After: from, Next: healing.Next, Removed: holes[0].Removed, First: holes[0].First}
		if healing.Newest.Compare(from) > 0 {
			lost.After = healing.Newest
		}
		lead := []watermark.Hole{lost}
		if next, ok := healing.Gaps[from]; ok && lost.After != from {
			lead = []watermark.Hole{{After: from, Next: next, Removed: lost.Removed, First: lost.First}, lost}
		}
		holes = append(lead, holes...)
	}
	queueHoles(batch, r.Function, r.Stream, "healed: "+healing.Reason, true, holes)
}
