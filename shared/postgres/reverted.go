package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/find_reverted.sql
	findReverted string
	//go:embed sql/read_counted.sql
	readCountedMetrics string
)

// RequestReverted queues runs of the windows that held what was reverted, once the archive has marked it.
func (s *Store) RequestReverted(ctx context.Context, function string) error {
	type reverted struct {
		Stream, Entry string
		First, Last   *time.Time
	}
	rows, err := s.pool.Query(ctx, findReverted, function, archive.Name)
	if err != nil {
		return fmt.Errorf("find what was reverted: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[reverted])
	if err != nil {
		return fmt.Errorf("find what was reverted: %w", err)
	}
	for _, r := range all {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			const forget = "delete from pending_reverts where function = $1 and stream = $2 and entry_id = $3"
			if _, err := lockMark(ctx, tx, function, r.Stream); err != nil { // before windows, as in every commit
				return err
			}
			gone, err := tx.Exec(ctx, forget, function, r.Stream, r.Entry)
			if err != nil || gone.RowsAffected() == 0 { // another was faster
				return err
			}
			if r.First == nil || r.Last == nil {
				return nil
			}
			return requestRange(ctx, tx, function, r.Stream, *r.First, *r.Last)
		})
		if err != nil {
			return fmt.Errorf("request what %s of %s has reverted: %w", r.Entry, r.Stream, err)
		}
	}
	return nil
}

// counted is a bucket size of a metric on a chain of which a stream brings the metric's events.
type counted struct {
	metric     int64
	definition metric.Definition
	created    time.Time // the metric
	size       bucket.Size
	chain      string
}

// readCounted gives what the metrics of a function count of a stream.
func readCounted(ctx context.Context, tx pgx.Tx, function, stream string) (all []counted, err error) {
	rows, err := tx.Query(ctx, readCountedMetrics, function, stream)
	if err != nil {
		return nil, err
	}
	var c counted
	var stored []byte
	var chains []string
	_, err = pgx.ForEachRow(rows, []any{&c.metric, &stored, &c.created, &chains}, func() (err error) {
		if c.definition, err = metric.DecodeDefinition(stored); err != nil {
			return fmt.Errorf("metric %d: %w", c.metric, err)
		}
		for _, c.size = range c.definition.BucketSizes {
			for _, c.chain = range chains {
				all = append(all, c)
			}
		}
		return nil
	})
	return all, err
}

// requestRange queues runs of all windows of a function's metrics into which events of a stream between two times fall. They are
// due once more when everything of the new branch has come.
func requestRange(ctx context.Context, tx pgx.Tx, function, stream string, first, last time.Time) error {
	all, err := readCounted(ctx, tx, function, stream)
	if err != nil {
		return err
	}
	windows := make([][]time.Time, len(all))
	batch := &pgx.Batch{}
	for i, c := range all { // schedules before runs, as they are locked where windows become due
		skew := c.definition.Skew()
		windows[i] = starts(c.size, first.Add(-skew), last.Add(skew).Add(time.Microsecond))
		batch.Queue(dueAgain, c.metric, c.size.String(), c.chain, windows[i][0])
	}
	var opened []bucket.Key
	for i, c := range all {
		opened = append(opened, queueAgain(batch, c.metric, c.size, c.chain, windows[i], events.RevisedReverted)...)
	}
	queueDependents(batch, opened)
	return tx.SendBatch(ctx, batch).Close()
}
