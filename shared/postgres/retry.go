package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/runner"
)

var (
	//go:embed sql/retry_runs.sql
	retryRuns string
	//go:embed sql/find_ended.sql
	findEnded string
)

// ErrNoRetry says that a run has succeeded, or is under way. Nothing was queued.
var ErrNoRetry = errors.New("there is nothing to try again")

// RetryRuns queues the windows of runs that have failed, or were skipped, once more: all or, where one cannot be, none. One that
// is queued for another attempt is begun without waiting. It gives how many windows are queued for it, and fails with
// [ErrUnknownRun] and [ErrNoRetry].
func (s *Store) RetryRuns(ctx context.Context, ids []int64) (queued int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		const find = `select run_id, state from runs join metric_registry using (metric_id)
			where run_id = any ($1) and deleted_at is null`
		rows, err := tx.Query(ctx, find, ids)
		if err != nil {
			return err
		}
		states := make(map[int64]runner.State, len(ids))
		var id int64
		var state runner.State
		if _, err := pgx.ForEachRow(rows, []any{&id, &state}, func() error { states[id] = state; return nil }); err != nil {
			return err
		}
		for _, id := range ids {
			switch state, known := states[id]; {
			case !known:
				return fmt.Errorf("%w: %d", ErrUnknownRun, id)
			case state == runner.Succeeded, state == runner.Running:
				return fmt.Errorf("%w: run %d: %s", ErrNoRetry, id, state)
			}
		}
		tag, err := tx.Exec(ctx, retryRuns, ids)
		queued = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("retry runs: %w", err)
	}
	return queued, nil
}

// RetryEnded queues the windows once more whose newest run is in a state, [runner.Failed] or [runner.Skipped], of one metric or,
// where its name is empty, of all. It gives how many.
func (s *Store) RetryEnded(ctx context.Context, metric string, state runner.State) (queued int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, findEnded, metric, string(state))
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, retryRuns, ids)
		queued = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("retry %s runs: %w", state, err)
	}
	return queued, nil
}
