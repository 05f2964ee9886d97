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
	//go:embed sql/announce_metrics.sql
	announceMetrics string
	//go:embed sql/claim_notices.sql
	claimNotices string
	//go:embed sql/settle_notices.sql
	settleNotices string
	//go:embed sql/forget_notices.sql
	forgetNotices string
)

// mostRefusals is how often a notice is refused until it is not sent any more.
const mostRefusals = 5

// Settlement is how sending a notice went.
type Settlement struct {
	ID      int64
	Err     error // nil: it has arrived
	Refused bool  // the same notice will be refused again
}

func (s Settlement) outcome() (outcome, reason string) {
	switch {
	case s.Err == nil:
		return "sent", ""
	case s.Refused:
		return "refused", storable(s.Err.Error())
	default:
		return "failed", storable(s.Err.Error())
	}
}

// ClaimNotices gives one process notices that were not sent, the oldest first, those of windows that are final, or no longer, after all others; so many,
// or a tenth more. Those that it does not settle while it has them are given to the next one.
func (s *Store) ClaimNotices(ctx context.Context, most int, lease time.Duration) ([]events.Notice, error) {
	rows, err := s.pool.Query(ctx, claimNotices, lease, mostRefusals, most)
	if err != nil {
		return nil, fmt.Errorf("claim notices: %w", err)
	}
	notices, err := pgx.CollectRows(rows, scanNotice)
	if err != nil {
		return nil, fmt.Errorf("claim notices: %w", err)
	}
	return notices, nil
}

func scanNotice(row pgx.CollectableRow) (n events.Notice, err error) {
	var size, chain *string
	var start *time.Time
	var run *int64
	var traced *string
	err = row.Scan(&n.ID, &n.Type, &n.Time, &n.Subject.Metric, &n.Subject.MetricType, &n.Subject.Complexity, &size, &start, &chain,
		&run, &n.Details, &traced)
	n.Time = n.Time.UTC()
	if size != nil && start != nil && chain != nil {
		n.Subject.BucketSize, n.Subject.BucketStart, n.Subject.Chain = *size, start.UTC(), *chain
	}
	if run != nil {
		n.RunID = *run
	}
	if traced != nil {
		n.Traceparent = *traced
	}
	return n, err
}

// SettleNotices notes how sending went. What has not arrived stays claimed until its lease has run out.
func (s *Store) SettleNotices(ctx context.Context, settlements []Settlement) error {
	ids, outcomes, reasons := make([]int64, len(settlements)), make([]string, len(settlements)), make([]string, len(settlements))
	for i, settled := range settlements {
		ids[i] = settled.ID
		outcomes[i], reasons[i] = settled.outcome()
	}
	if _, err := s.pool.Exec(ctx, settleNotices, ids, outcomes, reasons); err != nil {
		return fmt.Errorf("settle notices: %w", err)
	}
	return nil
}

// ForgetNotices deletes notices that were sent, or given up, before a time, at most so many. It gives their number.
func (s *Store) ForgetNotices(ctx context.Context, before time.Time, most int) (int64, error) {
	tag, err := s.pool.Exec(ctx, forgetNotices, before, mostRefusals, most)
	if err != nil {
		return 0, fmt.Errorf("forget notices: %w", err)
	}
	return tag.RowsAffected(), nil
}

// announce notes what becomes of metrics that are registered, each with its change.
func announce(ctx context.Context, tx pgx.Tx, names, changes []string) error {
	_, err := tx.Exec(ctx, announceMetrics, names, changes)
	return err
}
