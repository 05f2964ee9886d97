package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed sql/register_stream.sql
var registerStream string

// Modes of streams.
const (
	ModeFeed = "feed" // one program writes it, with ids that it chooses
	ModeOpen = "open" // any producer, ids by Redis
)

// ErrStream says that a stream cannot be what is asked for. Trying again does not help.
var ErrStream = errors.New("stream cannot be registered")

// Stream is a Redis stream that is known.
type Stream struct {
	Name  string
	Mode  string // ModeFeed or ModeOpen
	Chain string // of a feed; empty where the stream may hold several
}

// RegisterStream makes a stream known; again is the same as once. It fails with [ErrStream] where the mode is unknown, a
// feed has no chain, or the stream is known as another.
func (s *Store) RegisterStream(ctx context.Context, stream Stream) error {
	if stream.Name == "" {
		return fmt.Errorf("%w: it has no name", ErrStream)
	}
	if stream.Mode != ModeFeed && stream.Mode != ModeOpen {
		return fmt.Errorf("%w: mode of %s is %q, want %s or %s", ErrStream, stream.Name, stream.Mode, ModeFeed, ModeOpen)
	}
	if stream.Mode == ModeFeed && stream.Chain == "" {
		return fmt.Errorf("%w: feed %s has no chain", ErrStream, stream.Name)
	}
	if _, err := s.pool.Exec(ctx, registerStream, stream.Name, stream.Mode, stream.Chain); err != nil {
		return fmt.Errorf("register stream %s: %w", stream.Name, err)
	}
	known := Stream{Name: stream.Name}
	const read = "select mode, coalesce(chain, '') from streams where name = $1"
	if err := s.pool.QueryRow(ctx, read, stream.Name).Scan(&known.Mode, &known.Chain); err != nil {
		return fmt.Errorf("register stream %s: %w", stream.Name, err)
	}
	if known != stream {
		return fmt.Errorf("%w: %s is known with mode %s and chain %q, not mode %s and chain %q",
			ErrStream, stream.Name, known.Mode, known.Chain, stream.Mode, stream.Chain)
	}
	return nil
}

// Streams lists what is known, by name.
func (s *Store) Streams(ctx context.Context) ([]Stream, error) {
	rows, err := s.pool.Query(ctx, "select name, mode, coalesce(chain, '') from streams order by name")
	if err != nil {
		return nil, fmt.Errorf("list streams: %w", err)
	}
	streams, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Stream])
	if err != nil {
		return nil, fmt.Errorf("list streams: %w", err)
	}
	return streams, nil
}
