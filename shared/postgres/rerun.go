package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

var (
	//go:embed sql/retry_runs.sql
	retryRuns string
	//go:embed sql/find_ended.sql
	findEnded string
	//go:embed sql/start_runs.sql
	startRuns string
)

var _ runner.NowStore = (*Store)(nil)

var (
	// ErrUnknownRun says that there is no run of that number.
	ErrUnknownRun = errors.New("unknown run")
	// ErrNoRetry says that a run has succeeded, or is under way. Nothing was queued.
	ErrNoRetry = errors.New("there is nothing to try again")
)

// Run reads one run. It fails with [ErrUnknownRun].
func (s *Store) Run(ctx context.Context, id int64) (Run, error) {
	runs, err := s.Runs(ctx, RunQuery{ID: id, Most: 1})
	if err == nil && len(runs) == 0 {
		err = fmt.Errorf("%w: %d", ErrUnknownRun, id)
	}
	if err != nil {
		return Run{}, err
	}
	return runs[0], nil
}

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

// ClearWindows takes finality from the windows of a metric's size from the one that contains a time to the last one that starts
// before another, and from those of its smaller sizes in them, on each of its chains, and queues runs of them all. It gives how many
// windows of the size that are.
func (s *Store) ClearWindows(
	ctx context.Context, m RegisteredMetric, size bucket.Size, from, to time.Time,
) (cleared int64, err error) {
	all := starts(size, from, to)
	if len(all) == 0 {
		return 0, nil
	}
	from, to = all[0], size.Window(all[len(all)-1]).End
	for _, part := range m.Definition.BucketSizes { // from small to large: what a window is made of before the window
		if part > size || part == bucket.Weekly && size == bucket.Monthly {
			continue
		}
		for _, chain := range m.Definition.Chains {
			for some := range slices.Chunk(starts(part, from, to), requestedAtOnce) {
				err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
					batch := &pgx.Batch{}
					queueAgain(batch, m.ID, part, chain, some, events.RevisedCleared)
					return tx.SendBatch(ctx, batch).Close()
				})
				if err != nil {
					return cleared, fmt.Errorf("clear %s windows of %s: %w", part, m.Definition.Name, err)
				}
				if part == size {
					cleared += int64(len(some))
				}
			}
		}
	}
	return cleared, nil
}

// StartRuns claims the windows of a span, whatever is queued. It fails with [runner.ErrUnderWay].
func (s *Store) StartRuns(ctx context.Context, span aggregate.Span, bounds runner.Bounds) (runner.Claim, error) {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select nextval('run_lease')").Scan(&span.Lease); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, startRuns, span.Metric, span.Size.String(), span.Chain, starts(span.Size, span.From, span.To),
			span.Lease, bounds.Lease, bounds.Code)
		if hasCode(err, uniqueViolation) {
			return runner.ErrUnderWay
		}
		return err
	})
	if err != nil {
		return runner.Claim{}, fmt.Errorf("start runs: %w", err)
	}
	return runner.Claim{Span: span, Attempt: 1}, nil
}
