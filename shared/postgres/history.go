package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/find_history.sql
	findHistory string
	//go:embed sql/find_unscheduled.sql
	findUnscheduled string
)

// history is what a metric lacks of a stream: all that was before it.
type history struct {
	due           // without chain and until
	stream, until string
}

// RequestHistory queues runs of the windows that are older than a metric, or its calculation, once the archive has all that
// happened before. From the window on that is open, they are requested as due when they end.
func (s *Store) RequestHistory(ctx context.Context, function string, now time.Time) error {
	rows, err := s.pool.Query(ctx, findHistory, function, archive.Name)
	if err != nil {
		return fmt.Errorf("find metrics without history: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h history, err error) {
		var stored []byte
		var low, floor pgtype.Timestamptz
		if err := row.Scan(&h.stream, &h.until, &h.metric, &stored, &h.created, &low, &floor); err != nil {
			return h, err
		}
		h.low, h.floor = finiteTime(low), finiteTime(floor)
		h.definition, err = metric.DecodeDefinition(stored)
		return h, err
	})
	if err != nil {
		return fmt.Errorf("find metrics without history: %w", err)
	}
	for _, h := range all {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return h.request(ctx, tx, function, now) })
		if err != nil {
			return fmt.Errorf("request history of %s: %w", h.definition.Name, err)
		}
	}
	return nil
}

// request does nothing where another process does it.
func (h history) request(ctx context.Context, tx pgx.Tx, function string, now time.Time) error {
	const take = `select from pending_ranges where function = $1 and stream = $2 and metric_id = $3 and until_id = $4
		for update skip locked`
	const forget = "delete from pending_ranges where function = $1 and stream = $2 and metric_id = $3 and until_id = $4"
	key := []any{function, h.stream, h.metric, h.until}
	if tag, err := tx.Exec(ctx, take, key...); err != nil || tag.RowsAffected() == 0 {
		return err
	}
	d := h.definition
	rows, err := tx.Query(ctx, findUnscheduled,
		h.metric, h.stream, d.Calculation.Stream.EventType, sizeNames(d.BucketSizes), d.Chains)
	if err != nil {
		return err
	}
	type unscheduled struct {
		Chain       string
		Size        string
		First, Last time.Time
	}
	lacking, err := pgx.CollectRows(rows, pgx.RowToStructByPos[unscheduled])
	if err != nil {
		return err
	}
	for _, l := range lacking {
		size, err := bucket.ParseSize(l.Size)
		if err != nil {
			return err
		}
		from := firstWindow(size, l.First.UTC().Add(-d.Skew()), h.earliest(size))
		windows := starts(size, from, l.Last.UTC().Add(d.Skew()).Add(time.Microsecond))
		for some := range slices.Chunk(windows, requestedAtOnce) {
			if _, err := tx.Exec(ctx, requestRuns, h.metric, l.Size, l.Chain, some, "history"); err != nil {
				return err
			}
		}
		if len(windows) == 0 {
			continue // it is due from there on
		}
		until, err := h.open(size, from, now, math.MaxInt)
		if err != nil {
			return err
		}
		if end := size.Window(windows[len(windows)-1]).End; end.Before(until) {
			until = end
		}
		const schedule = "insert into schedules (metric_id, bucket_size, chain, requested_until) values ($1, $2, $3, $4) on conflict do nothing"
		if _, err := tx.Exec(ctx, schedule, h.metric, l.Size, l.Chain, until); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, forget, key...)
	return err
}
