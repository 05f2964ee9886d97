package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

var (
	//go:embed sql/find_final.sql
	findFinal string
	//go:embed sql/request_derived.sql
	requestDerived string
)

// requestDependentsOf opens, and requests, what depends on windows, by the places in four arrays.
const requestDependentsOf = "select request_dependents($1, $2, $3, $4)"

// queueDependents opens what depends on windows that have changed, and has that computed again whose dependencies are all final. A
// transaction does it once, after it has changed them.
func queueDependents(batch *pgx.Batch, windows []bucket.Key) {
	if len(windows) > 0 {
		c := columnsOf(windows)
		batch.Queue(requestDependentsOf, c.metrics, c.sizes, c.starts, c.chains)
	}
}

// requestDependents does at once what [queueDependents] does.
func requestDependents(ctx context.Context, tx pgx.Tx, windows []bucket.Key) error {
	if len(windows) == 0 {
		return nil
	}
	c := columnsOf(windows)
	_, err := tx.Exec(ctx, requestDependentsOf, c.metrics, c.sizes, c.starts, c.chains)
	return err
}

// windowsOf gives the keys of windows, for all dimensions.
func windowsOf(metric int64, size bucket.Size, chain string, starts []time.Time) []bucket.Key {
	keys := make([]bucket.Key, len(starts))
	for i, start := range starts {
		keys[i] = bucket.Key{Metric: metric, Size: size, Start: start.UTC(), Chain: chain}
	}
	return keys
}

// finalWindows gives the windows of a rebuild that are final, by their starts.
func finalWindows(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild) (map[time.Time]bool, error) {
	span := rebuild.Span
	rows, err := tx.Query(ctx, findFinal, span.Metric, span.Size.String(), span.From, span.To, span.Chain)
	if err != nil {
		return nil, err
	}
	final := make(map[time.Time]bool)
	var start time.Time
	_, err = pgx.ForEachRow(rows, []any{&start}, func() error { final[start.UTC()] = true; return nil })
	return final, err
}

// requestDerivedHistory goes on to request runs of the function's derived metrics that are new, or calculate otherwise, of the windows
// whose dependencies are final. What becomes final meanwhile is requested by that.
func (s *Store) requestDerivedHistory(ctx context.Context, function string) error {
	for more := true; more; {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			more, err = requestNextDerived(ctx, tx, function)
			return err
		})
		if err != nil {
			return fmt.Errorf("request what new metrics are derived from: %w", err)
		}
	}
	return nil
}

// requestNextDerived requests the next runs, and tells whether there may be more.
func requestNextDerived(ctx context.Context, tx pgx.Tx, function string) (more bool, err error) {
	const (
		find = `select h.metric_id, h.bucket_size, h.chain from derived_history h join metric_registry m using (metric_id)
			where m.type = $1 and m.deleted_at is null order by 1, 2, 3 limit 1 for update of h skip locked`
		move = "update derived_history set requested_until = $4 where metric_id = $1 and bucket_size = $2 and chain = $3"
		end  = "delete from derived_history where metric_id = $1 and bucket_size = $2 and chain = $3"
	)
	var id int64
	var size, chain string
	err = tx.QueryRow(ctx, find, function).Scan(&id, &size, &chain)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var last *time.Time
	if err := tx.QueryRow(ctx, requestDerived, id, size, chain, requestedAtOnce).Scan(&last); err != nil {
		return false, err
	}
	if last == nil {
		_, err = tx.Exec(ctx, end, id, size, chain)
	} else {
		_, err = tx.Exec(ctx, move, id, size, chain, *last)
	}
	return true, err
}
