package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
)

//go:embed sql/read_archived.sql
var readArchived string

// How often the archive's mark is read while a function waits for it: the first time after the one, then ever later.
const (
	firstLook = 2 * time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// AwaitArchive returns when the archive has an entry of a stream, takes no part in it, or after some patience.
func (s *Store) AwaitArchive(ctx context.Context, stream string, entry events.ID, patience time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		var archived events.ID
		err := s.pool.QueryRow(ctx, readArchived, archive.Name, stream).Scan(text{&archived})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive's watermark on %s: %w", stream, err)
		}
		if archived.Compare(entry) >= 0 {
			return nil
		}
		select {
		case <-waiting.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// queueArchived reads how far the archive has come with a stream, nil where it takes no part in it. It only goes on: what is read
// after the lock of another function's row holds until that commits.
func queueArchived(batch *pgx.Batch, stream string, archived **events.ID) {
	batch.Queue(readArchived, archive.Name, stream).QueryRow(func(row pgx.Row) error {
		var id events.ID
		err := row.Scan(text{&id})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		*archived = &id
		return err
	})
}
