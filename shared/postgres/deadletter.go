package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
)

//go:embed sql/list_dead_letters.sql
var listDeadLetters string

// ErrNoDeadLetter says that an entry is no dead letter.
var ErrNoDeadLetter = errors.New("no dead letter")

// DeadLetter is an entry that no function applied, or that those named in its reason did not.
type DeadLetter struct {
	Stream     string
	ID         events.ID
	Reason     string
	Bytes      int64 // of its content
	RecordedAt time.Time
	Content    []byte // JSON, the data of its CloudEvent, the first MiB of it; nil in lists
}

// DeadLetters lists the newest, at most so many, of one stream or, where it is empty, of all.
func (s *Store) DeadLetters(ctx context.Context, stream string, most int) ([]DeadLetter, error) {
	rows, err := s.pool.Query(ctx, listDeadLetters, stream, most)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	letters, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d DeadLetter, err error) {
		err = row.Scan(&d.Stream, text{&d.ID}, &d.Reason, &d.Bytes, &d.RecordedAt)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return letters, nil
}

// DeadLetter reads one with its content. It fails with [ErrNoDeadLetter].
func (s *Store) DeadLetter(ctx context.Context, stream string, id events.ID) (DeadLetter, error) {
	d := DeadLetter{Stream: stream, ID: id}
	const read = "select reason, content_length, recorded_at, content from dead_letters where stream = $1 and entry_id = $2"
	err := s.pool.QueryRow(ctx, read, stream, id.String()).Scan(&d.Reason, &d.Bytes, &d.RecordedAt, &d.Content)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, fmt.Errorf("%w: %s of %s", ErrNoDeadLetter, id, stream)
	}
	if err != nil {
		return d, fmt.Errorf("read dead letter %s of %s: %w", id, stream, err)
	}
	return d, nil
}
