package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	//go:embed sql/count_waiting.sql
	countWaiting string
	//go:embed sql/count_drifts.sql
	countDrifts string
)

// Observation is what the store tells those who watch the system.
type Observation struct {
	Troubles
	Marks   []FunctionMark
	Waiting []WaitingRuns // by function, bucket size
	Drifts  []Drifts      // by metric, bucket size
}

// WaitingRuns counts the runs of a metric type that have no result yet, those of paused metrics aside.
type WaitingRuns struct {
	Function, Size  string
	Queued, Running int64
	Since           *time.Time // when the oldest was requested of those that may be begun; nil: there is none
	Late            int64      // of both, those that are beyond the deadline of their metric
}

// Drifts counts the windows of which notices were written, in the last week or longer, that nothing explains a change of theirs.
type Drifts struct {
	Metric, Size string
	Windows      int64
	Newest       time.Time
}

// Observe reads all of it, in three round trips.
func (s *Store) Observe(ctx context.Context) (o Observation, err error) {
	if o.Troubles, err = s.Troubles(ctx); err != nil {
		return Observation{}, err
	}
	if o.Marks, err = s.Marks(ctx, ""); err != nil {
		return Observation{}, err
	}
	batch := &pgx.Batch{}
	batch.Queue(countWaiting).Query(func(rows pgx.Rows) (err error) {
		o.Waiting, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (w WaitingRuns, err error) {
			err = row.Scan(&w.Function, &w.Size, &w.Queued, &w.Running, &w.Since, &w.Late)
			return w, err
		})
		return err
	})
	batch.Queue(countDrifts).Query(func(rows pgx.Rows) (err error) {
		o.Drifts, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Drifts])
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return Observation{}, fmt.Errorf("observe runs: %w", err)
	}
	return o, nil
}
