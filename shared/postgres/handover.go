package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
)

var (
	//go:embed sql/archived_more.sql
	archivedMore string
	//go:embed sql/hand_over.sql
	handOver string
	//go:embed sql/insert_passed.sql
	insertPassed string
	//go:embed sql/abandon_rebuilds.sql
	abandonRebuilds string
)

var _ archive.Readers = (*Store)(nil)

// Readers gives the functions that keep entries of the registered streams from being trimmed, by stream and function.
func (s *Store) Readers(ctx context.Context) ([]archive.Reader, error) {
	streams, err := s.Streams(ctx)
	if err != nil {
		return nil, err
	}
	marks, err := s.Marks(ctx, "")
	if err != nil {
		return nil, err
	}
	var readers []archive.Reader
	for _, f := range marks {
		registered := slices.ContainsFunc(streams, func(stream Stream) bool { return stream.Name == f.Stream })
		if registered && f.DetachedAt == nil {
			readers = append(readers, archive.Reader{Function: f.Function, Stream: f.Stream, Mark: f.Mark, Movable: f.Movable})
		}
	}
	return readers, nil
}

// ArchivedMore implements [archive.Readers].
func (s *Store) ArchivedMore(ctx context.Context, r archive.Reader, than int64) (more bool, err error) {
	after := r.Mark.ID
	err = s.pool.QueryRow(ctx, archivedMore, r.Stream, storedPart(after.Major), storedPart(after.Minor), than, r.Function).Scan(&more)
	if err != nil {
		return false, fmt.Errorf("count what is archived of %s after %s: %w", r.Stream, after, err)
	}
	return more, nil
}

// HandOver implements [archive.Readers]. Rebuilds under way, which would lack what is passed over, come to nothing.
func (s *Store) HandOver(ctx context.Context, function, stream string, from events.ID) (until events.ID, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		at, err := lockMark(ctx, tx, function, stream)
		if err != nil || at.mark.ID != from {
			return err
		}
		var hash string
		var low pgtype.Timestamptz
		err = tx.QueryRow(ctx, handOver, function, stream).Scan(text{&until}, &hash, &low)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(insertPassed, function, stream, from.String(), until.String())
		batch.Queue(abandonRebuilds, function, stream)
		batch.Queue(moveWatermark, function, stream, until.String(), hash, low)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		return raiseVersion(ctx, tx, function, stream)
	})
	if err != nil {
		return events.ID{}, fmt.Errorf("move %s on %s to the archive's watermark: %w", function, stream, err)
	}
	return until, nil
}
