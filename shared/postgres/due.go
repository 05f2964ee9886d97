package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/find_due.sql
	findDue string
	//go:embed sql/find_due_by_clock.sql
	findDueByClock string
	//go:embed sql/find_first.sql
	findFirst string
)

// dueAgain has the windows from one on requested once more when they are due.
const dueAgain = `update schedules set requested_until = least(requested_until, $4)
	where metric_id = $1 and bucket_size = $2 and chain = $3`

// requestedUntil gives the start of the first window that was not requested as due, or is to be once more; zero where none was.
func requestedUntil(ctx context.Context, tx pgx.Tx, metric int64, size bucket.Size, chain string) (time.Time, error) {
	const read = `select coalesce(
		(select requested_until from schedules where metric_id = $1 and bucket_size = $2 and chain = $3), '-infinity')`
	var until pgtype.Timestamptz
	err := tx.QueryRow(ctx, read, metric, size.String(), chain).Scan(&until)
	return finiteTime(until), err
}

// due is a metric on a chain whose windows may be due.
type due struct {
	metric     int64
	version    int // of the definition
	definition metric.Definition
	created    time.Time // the metric
	chain      string
	until      time.Time // before this start they were requested; zero: none was
	low, floor time.Time // zero: minus infinity
}

// isPresent tells whether the definition is still that of the metric, which it remains until the transaction ends.
func (d due) isPresent(ctx context.Context, tx pgx.Tx) (bool, error) {
	const read = "select from metric_registry where metric_id = $1 and version = $2 and deleted_at is null for share"
	tag, err := tx.Exec(ctx, read, d.metric, d.version)
	return tag.RowsAffected() > 0, err
}

// earliest gives the time before which no window of a size begins that is computed.
func (d due) earliest(size bucket.Size) time.Time {
	from := scheduledFrom(d.definition, d.created, size)
	if d.floor.After(from) {
		return d.floor
	}
	return from
}

// scheduledFrom gives the time before which no window of a size begins that is ever due: the start date of a metric, and where it
// does not catch up the window in which it was created. What the stream brings is counted in windows before that too.
func scheduledFrom(d metric.Definition, created time.Time, size bucket.Size) time.Time {
	from := d.StartDate
	if now := size.Window(created).Start; !d.CatchesUp() && now.After(from) {
		from = now
	}
	return from
}

// open gives the start of the first window of a size, from another on, that is not due. It looks at the last ones only: where one
// is due, so are those before it.
func (d due) open(size bucket.Size, from, now time.Time) (time.Time, error) {
	low := d.low.Add(-d.definition.Delay())
	if low.After(now) {
		low = now
	}
	if !low.After(from) {
		return from, nil
	}
	open := size.Window(low).Start
	for open.After(from) {
		before := size.Window(open.Add(-time.Microsecond))
		at, err := d.definition.DueAt(size, before.End)
		if err != nil || !at.After(now) {
			return open, err
		}
		open = before.Start
	}
	return from, nil
}

// RequestDue queues runs of the windows that have ended and up to whose end everything has come, of one metric or, where none is
// named, of all.
func (s *Store) RequestDue(
	ctx context.Context, function, name string, size bucket.Size, now time.Time,
) (requested int64, err error) {
	all, err := s.findDue(ctx, function, name, size, now)
	if err != nil {
		return 0, fmt.Errorf("find what is due: %w", err)
	}
	for _, d := range all {
		n, err := s.requestDue(ctx, d, size, now)
		if err != nil {
			return requested, fmt.Errorf("request %s runs of %s: %w", size, d.definition.Name, err)
		}
		requested += n
	}
	return requested, nil
}

// findDue gives the metrics that may have windows that are due: by what has come of their events or, where they are made of none, by the
// clock.
func (s *Store) findDue(ctx context.Context, function, name string, size bucket.Size, now time.Time) ([]due, error) {
	rows, err := s.pool.Query(ctx, findDue, function, size.String(), archive.Name, name)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d due, err error) {
		var stored []byte
		var until, low, floor pgtype.Timestamptz
		if err := row.Scan(&d.metric, &d.version, &stored, &d.created, &d.chain, &until, &low, &floor); err != nil {
			return d, err
		}
		d.until, d.low, d.floor = finiteTime(until), finiteTime(low), finiteTime(floor)
		d.definition, err = metric.DecodeDefinition(stored)
		return d, err
	})
	if err != nil {
		return nil, err
	}
	if rows, err = s.pool.Query(ctx, findDueByClock, function, size.String(), name); err != nil {
		return nil, err
	}
	byClock, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d due, err error) {
		var stored []byte
		var until pgtype.Timestamptz
		if err := row.Scan(&d.metric, &d.version, &stored, &d.created, &d.chain, &until); err != nil {
			return d, err
		}
		d.until, d.low = finiteTime(until), now
		d.definition, err = metric.DecodeDefinition(stored)
		return d, err
	})
	return append(all, byClock...), err
}

func (s *Store) requestDue(ctx context.Context, d due, size bucket.Size, now time.Time) (requested int64, err error) {
	begin := d.until
	switch {
	case !begin.IsZero():
	case len(d.definition.Calculation.EventTypes()) == 0:
		begin = d.definition.StartDate
	default:
		var first, outdated pgtype.Timestamptz
		err := s.pool.QueryRow(ctx, findFirst, d.metric, size.String(), d.chain).Scan(&first, &outdated)
		if err != nil || !first.Valid {
			return 0, err
		}
		begin = first.Time.Add(-d.definition.Skew())
		if outdated.Valid && outdated.Time.Before(begin) {
			begin = outdated.Time
		}
	}
	from := firstWindow(size, begin, d.earliest(size)) // a reorganisation may have taken until back before that
	until, err := d.open(size, from, now)
	if err != nil || !until.After(from) {
		return 0, err
	}
	var windows []time.Time
	for w := range size.Windows(from, until) {
		if len(windows) == requestedAtOnce {
			until = w.Start
			break
		}
		windows = append(windows, w.Start)
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if is, err := d.isPresent(ctx, tx); err != nil || !is {
			return err
		}
		const move = `insert into schedules (metric_id, bucket_size, chain, requested_until) values ($1, $2, $3, $4)
			on conflict (metric_id, bucket_size, chain) do update set requested_until = excluded.requested_until
			where schedules.requested_until = $5`
		tag, err := tx.Exec(ctx, move, d.metric, size.String(), d.chain, until, lowWaterOf(d.until))
		if err != nil || tag.RowsAffected() == 0 { // another was faster
			return err
		}
		tag, err = tx.Exec(ctx, requestRuns, d.metric, size.String(), d.chain, windows, "due")
		requested = tag.RowsAffected()
		return err
	})
	return requested, err
}

// firstWindow gives the start of the first window that is computed: the one of what happened first, or the first one that does not
// begin before the floor.
func firstWindow(size bucket.Size, first, floor time.Time) time.Time {
	if first.Before(events.Earliest) {
		first = events.Earliest
	}
	if !first.After(floor) {
		w := size.Window(floor)
		if w.Start.Before(floor) {
			return w.End
		}
		return w.Start
	}
	return size.Window(first).Start
}

// starts gives the starts of the windows from the one that contains a time to the last one that starts before another.
func starts(size bucket.Size, from, to time.Time) (all []time.Time) {
	for w := range size.Windows(from, to) {
		all = append(all, w.Start)
	}
	return all
}
