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
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
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
		registered := slices.IndexFunc(streams, func(stream Stream) bool { return stream.Name == f.Stream })
		if registered >= 0 && f.DetachedAt == nil {
			readers = append(readers, archive.Reader{
				Function: f.Function, Stream: f.Stream, Open: streams[registered].Mode == ModeOpen, Mark: f.Mark, Movable: f.Movable,
			})
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
		queuePassed(batch, archive.Reader{Function: function, Stream: stream}, from, watermark.Mark{ID: until, Hash: hash}, finiteTime(low))
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return events.ID{}, fmt.Errorf("move %s on %s to the archive's watermark: %w", function, stream, err)
	}
	return until, nil
}

// queuePassed moves a function, whose row is locked, to an entry, and notes what it has passed over.
func queuePassed(batch *pgx.Batch, r archive.Reader, from events.ID, to watermark.Mark, low time.Time) {
	batch.Queue(insertPassed, r.Function, r.Stream, from.String(), to.ID.String())
	batch.Queue(abandonRebuilds, r.Function, r.Stream)
	batch.Queue(moveWatermark, r.Function, r.Stream, to.ID.String(), to.Hash, lowWaterOf(low))
	batch.Queue(raiseVersionOf, r.Function, r.Stream)
}
