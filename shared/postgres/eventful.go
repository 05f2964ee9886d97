package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/coverage"
)

//go:embed sql/find_eventful.sql
var findEventful string

// Eventful tells, by their starts, in which windows something happened, or at most so much before or after them: events of a
// types, or of any where none is named.
func (s *Store) Eventful(
	ctx context.Context, c coverage.Coverage, eventTypes []string, windows iter.Seq[bucket.Window], delay time.Duration,
) (map[time.Time]bool, error) {
	failed := func(err error) (map[time.Time]bool, error) {
		return nil, fmt.Errorf("find what happened in %s: %w", c.Stream, err)
	}
	const owned = `select event_type from stream_types
		where stream = $1 and chain = $2 and (event_type = any ($3) or $3::text[] is null)`
	rows, err := s.pool.Query(ctx, owned, c.Stream, c.Chain, eventTypes)
	if err != nil {
		return failed(err)
	}
	types, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return failed(err)
	}
	var starts, from, to []time.Time
	for w := range windows {
		starts, from, to = append(starts, w.Start), append(from, w.Start.Add(-delay)), append(to, w.End.Add(delay))
	}
	if rows, err = s.pool.Query(ctx, findEventful, c.Stream, c.Chain, types, from, to); err != nil {
		return failed(err)
	}
	eventful := make(map[time.Time]bool)
	var place int64
	if _, err := pgx.ForEachRow(rows, []any{&place}, func() error { eventful[starts[place-1]] = true; return nil }); err != nil {
		return failed(err)
	}
	return eventful, nil
}
