package postgres

import (
	"context"
	"errors"
	"fmt"
)

// ErrUnknownFunction says that no function of that name has begun a stream.
var ErrUnknownFunction = errors.New("unknown function")

// Detach has a function keep nothing from being trimmed any more, on all its streams. It fails with [ErrUnknownFunction].
func (s *Store) Detach(ctx context.Context, function string) error {
	const detach = "update stream_watermarks set detached_at = coalesce(detached_at, now()) where function = $1"
	return s.changeFunction(ctx, "detach", detach, function)
}

// Attach is the reverse of Detach. It fails with [ErrUnknownFunction].
func (s *Store) Attach(ctx context.Context, function string) error {
	return s.changeFunction(ctx, "attach", "update stream_watermarks set detached_at = null where function = $1", function)
}

func (s *Store) changeFunction(ctx context.Context, what, statement, function string) error {
	tag, err := s.pool.Exec(ctx, statement, function)
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, function, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%w: %s", ErrUnknownFunction, function)
	}
	return nil
}
