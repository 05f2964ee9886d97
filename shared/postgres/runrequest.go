package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed sql/ask_for_runs.sql
var askForRuns string

// RunRequest names runs that a function is to be asked for.
type RunRequest struct {
	ID               int64 // of the metric
	Metric, Function string
	Size             string
	Complexity       string
}

// AskForRuns gives the metrics and bucket sizes with queued runs that may begin. Each is given to one process, and not again until
// somebody has looked for runs of it, or a time has passed, unless it is withdrawn.
func (s *Store) AskForRuns(ctx context.Context, again time.Duration) ([]RunRequest, error) {
	rows, err := s.pool.Query(ctx, askForRuns, again)
	if err != nil {
		return nil, fmt.Errorf("find runs to ask for: %w", err)
	}
	requests, err := pgx.CollectRows(rows, pgx.RowToStructByPos[RunRequest])
	if err != nil {
		return nil, fmt.Errorf("find runs to ask for: %w", err)
	}
	return requests, nil
}

// WithdrawRequests says that nobody could be asked.
func (s *Store) WithdrawRequests(ctx context.Context, requests []RunRequest) error {
	const withdraw = `delete from run_requests
		using unnest($1::bigint[], $2::text[]) as r (metric_id, bucket_size)
		where run_requests.metric_id = r.metric_id and run_requests.bucket_size = r.bucket_size`
	ids, sizes := make([]int64, len(requests)), make([]string, len(requests))
	for i, r := range requests {
		ids[i], sizes[i] = r.ID, r.Size
	}
	if _, err := s.pool.Exec(ctx, withdraw, ids, sizes); err != nil {
		return fmt.Errorf("withdraw requests of runs: %w", err)
	}
	return nil
}

// Functions lists the metric types of which there are metrics.
func (s *Store) Functions(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, "select distinct type from metric_registry where deleted_at is null order by type")
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	return names, nil
}
