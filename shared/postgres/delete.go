package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
)

var (
	//go:embed sql/delete_rows.sql
	deleteRows string
	//go:embed sql/forget_metric.sql
	forgetMetric string
)

// ErrNeeded says that other metrics are derived from one.
var ErrNeeded = errors.New("others are derived from it")

// deletedAtOnce is how many rows one transaction deletes.
const deletedAtOnce = 5000

// DeleteMetric removes a metric and its buckets, and gives the number of buckets. It takes the metric out of the registry
// first, so that no function writes buckets of it any more, and then deletes them in steps. Where that is cut short, the
// next call of DeleteMetric, for any metric, or of ApplyMetrics goes on with it. It fails with [ErrUnknownMetric] and [ErrNeeded].
func (s *Store) DeleteMetric(ctx context.Context, name string) (buckets int64, err error) {
	var id int64
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockRegistry); err != nil {
			return err
		}
		id, err = retire(ctx, tx, name)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("delete metric %s: %w", name, err)
	}
	deleted, err := s.purge(ctx)
	if err != nil {
		return deleted[id], fmt.Errorf("delete buckets of %s, to be continued by the next deletion: %w", name, err)
	}
	return deleted[id], nil
}

// retire marks the metric as deleted; one that is already, and still has its row, is found too.
func retire(ctx context.Context, tx pgx.Tx, name string) (id int64, err error) {
	metrics, err := readMetrics(ctx, tx, []string{name}, legible)
	if err != nil {
		return 0, err
	}
	if len(metrics) == 0 {
		const deleted = "select metric_id from metric_registry where name = $1 order by metric_id desc limit 1"
		rows, err := tx.Query(ctx, deleted, name)
		if err != nil {
			return 0, err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err == nil && len(ids) == 0 {
			err = ErrUnknownMetric
		}
		if err != nil {
			return 0, err
		}
		return ids[0], nil
	}
	var dependents []string
	const find = "select coalesce(array_agg(name order by name), '{}') from derived_metrics where dependencies ? $1"
	if err := tx.QueryRow(ctx, find, name).Scan(&dependents); err != nil {
		return 0, err
	}
	if len(dependents) > 0 {
		return 0, fmt.Errorf("%w: delete %s first", ErrNeeded, strings.Join(dependents, ", "))
	}
	functions := []string{metrics[0].Definition.Type}
	if _, err := tx.Exec(ctx, lockFunctions, functions); err != nil {
		return 0, err
	}
	id = metrics[0].ID
	if err := announce(ctx, tx, []string{name}, []string{events.MetricDeleted}); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, "update metric_registry set deleted_at = now() where metric_id = $1", id); err != nil {
		return 0, err
	}
	return id, raiseVersions(ctx, tx, functions)
}

// purge deletes the buckets of metrics that are no longer in the registry, then what else is left of these metrics. It
// gives the number of buckets by metric, also with an error. Several at the same time share the work.
func (s *Store) purge(ctx context.Context) (deleted map[int64]int64, err error) {
	rows, err := s.pool.Query(ctx, "select metric_id from metric_registry where deleted_at is not null order by metric_id")
	if err != nil {
		return nil, fmt.Errorf("find deleted metrics: %w", err)
	}
	metrics, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("find deleted metrics: %w", err)
	}
	if len(metrics) == 0 {
		return nil, nil //nolint:nilnil // reading a nil map gives 0
	}
	partitions, err := s.listPartitions(ctx)
	if err != nil {
		return nil, err
	}
	deleted = make(map[int64]int64, len(metrics))
	for _, id := range metrics {
		for _, name := range partitions {
			n, err := s.deleteRows(ctx, deleteRows, name, id)
			deleted[id] += n
			if err != nil {
				return deleted, err
			}
		}
		for _, table := range []string{"windows", "bucket_revisions", "check_failures", "runs"} {
			if _, err := s.deleteRows(ctx, deleteRows, table, id); err != nil {
				return deleted, err
			}
		}
		if _, err := s.pool.Exec(ctx, forgetMetric, id); err != nil {
			return deleted, fmt.Errorf("forget metric %d: %w", id, err)
		}
	}
	return deleted, nil
}

// deleteRows runs a statement that deletes at most so many rows of a table as its first argument says until there are none left,
// and gives their number, also with an error.
func (s *Store) deleteRows(ctx context.Context, statement, table string, of ...any) (deleted int64, err error) {
	for full := true; full; {
		tag, err := s.pool.Exec(ctx, inTable(statement, table), append([]any{deletedAtOnce}, of...)...)
		if err != nil {
			return deleted, fmt.Errorf("delete from %s: %w", table, err)
		}
		deleted += tag.RowsAffected()
		full = tag.RowsAffected() == deletedAtOnce
	}
	return deleted, nil
}
