package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
)

var (
	//go:embed sql/ask_for_runs.sql
	askForRuns string
	//go:embed sql/withdraw_requests.sql
	withdrawRequests string
)

// AskForRuns implements scheduler.Store.
func (s *Store) AskForRuns(ctx context.Context, again time.Duration) ([]events.RunRequest, error) {
	rows, err := s.pool.Query(ctx, askForRuns, again)
	if err != nil {
		return nil, fmt.Errorf("find runs to ask for: %w", err)
	}
	requests, err := pgx.CollectRows(rows, pgx.RowToStructByPos[events.RunRequest])
	if err != nil {
		return nil, fmt.Errorf("find runs to ask for: %w", err)
	}
	return requests, nil
}

// WithdrawRequests implements scheduler.Store.
func (s *Store) WithdrawRequests(ctx context.Context, requests []events.RunRequest) error {
	metrics, sizes := make([]string, len(requests)), make([]string, len(requests))
	for i, r := range requests {
		metrics[i], sizes[i] = r.Metric, r.BucketSize
	}
	if _, err := s.pool.Exec(ctx, withdrawRequests, metrics, sizes); err != nil {
		return fmt.Errorf("withdraw requests of runs: %w", err)
	}
	return nil
}
