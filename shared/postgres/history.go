package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

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
	due             // without chain and until
	stream, untilID string
	recorded        time.Time
}

// RequestHistory queues runs of the windows that are older than a metric, or its calculation, once the archive has all that
// happened before. From the window on that is open, they are requested as due when they end. Cut short, it goes on where it was.
// It fails where a definition has what this version does not know.
func (s *Store) RequestHistory(ctx context.Context, function string, now time.Time) error {
	rows, err := s.pool.Query(ctx, findHistory, function, archive.Name)
	if err != nil {
		return fmt.Errorf("find metrics without history: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h history, err error) {
		var stored []byte
		var low, floor pgtype.Timestamptz
		err = row.Scan(&h.stream, &h.untilID, &h.recorded, &h.metric, &h.version, &stored, &h.created, &low, &floor)
		if err != nil {
			return h, err
		}
		h.low, h.floor = finiteTime(low), finiteTime(floor)
		h.definition, err = metric.DecodeDefinition(stored)
		return h, err
	})
	if err != nil {
		return fmt.Errorf("find metrics without history: %w", err)
	}
	var failed []error
	for _, h := range all {
		if err := s.requestHistory(ctx, function, h, now); err != nil {
			failed = append(failed, fmt.Errorf("request history of %s: %w", h.definition.Name, err))
		}
	}
	return errors.Join(failed...)
}

// requestHistory does nothing where another process does it.
func (s *Store) requestHistory(ctx context.Context, function string, h history, now time.Time) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var alone bool
	const lock = "select pg_try_advisory_lock(hashtextextended('history of ' || $1, 0))"
	key := strconv.FormatInt(h.metric, 10) + " in " + h.stream
	if err := conn.QueryRow(ctx, lock, key).Scan(&alone); err != nil || !alone {
		return err
	}
	defer func() {
		const unlock = "select pg_advisory_unlock(hashtextextended('history of ' || $1, 0))"
		if _, err := conn.Exec(context.WithoutCancel(ctx), unlock, key); err != nil {
			_ = conn.Conn().Close(ctx) // which unlocks
		}
	}()
	lacking, err := h.unscheduled(ctx, conn)
	if err != nil {
		return err
	}
	for i := range lacking {
		if err := h.queue(ctx, conn, &lacking[i], now); err != nil {
			return err
		}
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if is, err := h.isPresent(ctx, tx); err != nil || !is {
			return err
		}
		for _, u := range lacking {
			const schedule = "insert into schedules (metric_id, bucket_size, chain, requested_until) values ($1, $2, $3, $4)"
			if u.until.IsZero() {
				continue // it is due from the first window on
			}
			if _, err := tx.Exec(ctx, schedule, h.metric, u.size.String(), u.chain, u.until); err != nil {
				return err
			}
		}
		const forget = "delete from pending_ranges where function = $1 and stream = $2 and metric_id = $3 and until_id = $4"
		_, err := tx.Exec(ctx, forget, function, h.stream, h.metric, h.untilID)
		return err
	})
}

// unscheduled is a bucket size of a chain of which nothing was requested, with the times of the first and the last archived event.
type unscheduled struct {
	chain       string
	size        bucket.Size
	first, last time.Time
	until       time.Time // the start of the first window that is not requested
}

func (h history) unscheduled(ctx context.Context, db querier) ([]unscheduled, error) {
	d := h.definition
	rows, err := db.Query(ctx, findUnscheduled, h.metric, h.stream, d.Calculation.Stream.EventType, bucket.Names(d.BucketSizes), d.Chains)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (u unscheduled, err error) {
		err = row.Scan(&u.chain, text{&u.size}, &u.first, &u.last)
		return u, err
	})
}

// queue queues runs of the windows, some at a time, from where an earlier call has come on.
func (h history) queue(ctx context.Context, conn *pgxpool.Conn, u *unscheduled, now time.Time) error {
	skew := h.definition.Skew()
	from := firstWindow(u.size, u.first.UTC().Add(-skew), h.earliest(u.size))
	windows := starts(u.size, from, u.last.UTC().Add(skew).Add(time.Microsecond))
	if len(windows) == 0 {
		return nil
	}
	var err error
	if u.until, err = h.open(u.size, from, now, math.MaxInt); err != nil {
		return err
	}
	if end := u.size.Window(windows[len(windows)-1]).End; end.Before(u.until) {
		u.until = end
	}
	const reached = `select max(bucket_start) from runs
		where metric_id = $1 and bucket_size = $2 and chain = $3 and reason = 'history' and requested_at >= $4`
	var last *time.Time
	if err := conn.QueryRow(ctx, reached, h.metric, u.size.String(), u.chain, h.recorded).Scan(&last); err != nil {
		return err
	}
	if last != nil {
		windows = slices.DeleteFunc(windows, func(start time.Time) bool { return !start.After(*last) })
	}
	for some := range slices.Chunk(windows, requestedAtOnce) {
		if _, err := conn.Exec(ctx, requestRuns, h.metric, u.size.String(), u.chain, some, "history"); err != nil {
			return err
		}
	}
	return nil
}
