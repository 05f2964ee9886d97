package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/find_history.sql
	findHistory string
	//go:embed sql/find_lacking.sql
	findLacking string
	//go:embed sql/find_outdated.sql
	findOutdated string
)

// errChanged says that a metric is no longer as it was found. What it lacks now is found anew.
var errChanged = errors.New("the metric has changed")

// history is what a metric lacks of a stream: all that was before it.
type history struct {
	due              // without chain and until
	stream, untilID  string
	oldestGeneration int64 // buckets of an older generation were made by another calculation
}

// RequestHistory queues runs of the windows that are older than a metric, or its calculation, once the archive has all that
// happened before; of a derived one, of those whose dependencies are final. From the window on that is open, they are requested as due when they end. Cut short, it goes on where it was.
// It fails where a definition has what this version does not know.
func (s *Store) RequestHistory(ctx context.Context, function string, now time.Time) error {
	rows, err := s.pool.Query(ctx, findHistory, function, archive.Name)
	if err != nil {
		return fmt.Errorf("find metrics without history: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h history, err error) {
		var stored []byte
		var floor pgtype.Timestamptz
		err = row.Scan(&h.stream, &h.untilID, &h.metric, &h.version, &h.oldestGeneration, &stored, &h.created, &floor)
		if err != nil {
			return h, err
		}
		h.floor = finiteTime(floor)
		h.definition, err = metric.DecodeDefinition(stored)
		return h, err
	})
	if err != nil {
		return fmt.Errorf("find metrics without history: %w", err)
	}
	failed := []error{s.requestDerivedHistory(ctx, function)}
	for _, h := range all {
		if err := s.requestHistory(ctx, function, h, now); err != nil && !errors.Is(err, errChanged) {
			failed = append(failed, fmt.Errorf("request history of %s: %w", h.definition.Name, err))
		}
	}
	return errors.Join(failed...)
}

// requestHistory shares the work with other processes that do it, in steps, of which each holds only for the present definition.
func (s *Store) requestHistory(ctx context.Context, function string, h history, now time.Time) error {
	all, err := h.lacking(ctx, s.pool)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		at, err := lockMark(ctx, tx, function, h.stream) // a reorganisation lowers what this notes, or was before it
		if err != nil {
			return err
		}
		h.low = at.low
		if err := h.verify(ctx, tx); err != nil {
			return err
		}
		return h.schedule(ctx, tx, all, now)
	})
	if err != nil {
		return err
	}
	for _, l := range all {
		for more := true; more; {
			err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
				if err := h.verify(ctx, tx); err != nil {
					return err
				}
				more, err = h.queue(ctx, tx, l)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := h.verify(ctx, tx); err != nil {
			return err
		}
		const forget = "delete from pending_ranges where function = $1 and stream = $2 and metric_id = $3 and until_id = $4"
		_, err := tx.Exec(ctx, forget, function, h.stream, h.metric, h.untilID)
		return err
	})
}

// verify fails with [errChanged] where the definition is no longer that of the metric. Otherwise it stays until the transaction
// ends.
func (h history) verify(ctx context.Context, tx pgx.Tx) error {
	is, err := h.isPresent(ctx, tx)
	if err == nil && !is {
		err = errChanged
	}
	return err
}

// lacking is a bucket size of a chain whose history was not requested, or not all of it, with the windows of the archived events:
// from a start on, those that begin before another time. Both are zero where there are none.
type lacking struct {
	chain    string
	size     bucket.Size
	from, to time.Time
}

func (h history) lacking(ctx context.Context, db querier) ([]lacking, error) {
	d := h.definition
	rows, err := db.Query(ctx, findLacking, h.metric, h.stream, d.Calculation.EventTypes(), bucket.Names(d.BucketSizes), d.Chains)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l lacking, err error) {
		var first, last *time.Time
		if err := row.Scan(&l.chain, text{&l.size}, &first, &last); err != nil || first == nil || last == nil {
			return l, err
		}
		skew := d.Skew()
		from, to := firstWindow(l.size, first.UTC().Add(-skew), h.earliest(l.size)), last.UTC().Add(skew).Add(time.Microsecond)
		if from.Before(to) {
			l.from, l.to = from, to
		}
		return l, nil
	})
}

// schedule notes from which windows on they are requested as due, and that the history of those before is being requested.
func (h history) schedule(ctx context.Context, tx pgx.Tx, all []lacking, now time.Time) error {
	const begin = `insert into schedules (metric_id, bucket_size, chain, requested_until, history_until) values ($1, $2, $3, $4, $5)
		on conflict do nothing`
	for _, l := range all {
		var until time.Time // zero: it is due from the first window on
		if !l.to.IsZero() {
			var err error
			if until, err = h.open(l.size, l.from, now); err != nil {
				return err
			}
			if end := l.size.Window(l.to.Add(-time.Microsecond)).End; end.Before(until) {
				until = end
			}
		}
		from := firstWindow(l.size, events.Earliest, h.floor)
		if _, err := tx.Exec(ctx, begin, h.metric, l.size.String(), l.chain, lowWaterOf(until), from); err != nil {
			return err
		}
	}
	return nil
}

// queue queues runs of the next windows, and tells whether there may be more.
func (h history) queue(ctx context.Context, tx pgx.Tx, l lacking) (more bool, err error) {
	const read = `select history_until from schedules
		where metric_id = $1 and bucket_size = $2 and chain = $3 and history_until is not null for update`
	const move = "update schedules set history_until = $4 where metric_id = $1 and bucket_size = $2 and chain = $3"
	var from time.Time
	err = tx.QueryRow(ctx, read, h.metric, l.size.String(), l.chain).Scan(&from)
	if errors.Is(err, pgx.ErrNoRows) { // another has come to the end
		return false, nil
	}
	if err != nil {
		return false, err
	}
	windows, err := h.windows(ctx, tx, l, from.UTC())
	if err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, requestRuns, h.metric, l.size.String(), l.chain, windows, "history"); err != nil {
		return false, err
	}
	var until *time.Time // nil: that was all
	if more = len(windows) == requestedAtOnce; more {
		end := l.size.Window(windows[len(windows)-1]).End
		until = &end
	}
	_, err = tx.Exec(ctx, move, h.metric, l.size.String(), l.chain, until)
	return more, err
}

// windows gives the starts of the first windows from one on: of those of the archived events, and of those elsewhere that have
// buckets of another calculation.
func (h history) windows(ctx context.Context, tx pgx.Tx, l lacking, from time.Time) ([]time.Time, error) {
	rows, err := tx.Query(ctx, findOutdated, h.metric, l.size.String(), l.chain, h.oldestGeneration, from, requestedAtOnce)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, err
	}
	if from.Before(l.from) {
		from = l.from
	}
	outdated := len(all)
	for w := range l.size.Windows(from, l.to) {
		if len(all)-outdated == requestedAtOnce {
			break
		}
		all = append(all, w.Start)
	}
	slices.SortFunc(all, time.Time.Compare)
	all = slices.CompactFunc(all, time.Time.Equal)
	return all[:min(len(all), requestedAtOnce)], nil
}
