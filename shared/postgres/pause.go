package postgres

import (
	"context"
	"fmt"
)

// PauseMetric keeps runs of a metric from being requested because they are due, and from being begun. It fails with
// [ErrUnknownMetric], and does nothing where the metric is paused.
func (s *Store) PauseMetric(ctx context.Context, name string) error {
	const pause = "update metric_registry set paused_at = coalesce(paused_at, now()) where name = $1 and deleted_at is null"
	return s.setPaused(ctx, name, pause)
}

// ResumeMetric ends that. What has become due meanwhile is requested with the next tick. It fails with [ErrUnknownMetric].
func (s *Store) ResumeMetric(ctx context.Context, name string) error {
	return s.setPaused(ctx, name, "update metric_registry set paused_at = null where name = $1 and deleted_at is null")
}

func (s *Store) setPaused(ctx context.Context, name, update string) error {
	tag, err := s.pool.Exec(ctx, update, name)
	if err != nil {
		return fmt.Errorf("change whether %s is paused: %w", name, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%w: %s", ErrUnknownMetric, name)
	}
	return nil
}
