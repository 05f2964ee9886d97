package postgres

import (
	"context"
	_ "embed"
	"fmt"
)

//go:embed sql/tell_late.sql
var tellLate string

// TellLate notes for others which runs have had no result by the deadline of their metric, each once.
func (s *Store) TellLate(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, tellLate); err != nil {
		return fmt.Errorf("tell which runs are late: %w", err)
	}
	return nil
}
