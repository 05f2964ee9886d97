package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/coverage"
)

var (
	//go:embed sql/list_covered.sql
	listCovered string
	//go:embed sql/list_segments.sql
	listSegments string
	//go:embed sql/list_declarations.sql
	listDeclarations string
	//go:embed sql/list_losses.sql
	listLosses string
	//go:embed sql/find_missing_heights.sql
	findMissingHeights string
)

// Coverage reads what the archive has of a stream, or of all where none is named, by stream and chain. Holes between blocks it
// knows at once; to find heights without rows it reads the entries of the intervals that are said to have every height.
func (s *Store) Coverage(ctx context.Context, stream string) ([]coverage.Coverage, error) {
	failed := func(err error) ([]coverage.Coverage, error) { return nil, fmt.Errorf("read coverage: %w", err) }
	var all []coverage.Coverage
	batch := &pgx.Batch{}
	batch.Queue(listCovered, stream).Query(func(rows pgx.Rows) (err error) {
		all, err = pgx.CollectRows(rows, scanCovered)
		return err
	})
	of := func(stream string) (found []*coverage.Coverage) {
		for i := range all {
			if all[i].Stream == stream {
				found = append(found, &all[i])
			}
		}
		return found
	}
	batch.Queue(listSegments, stream).Query(func(rows pgx.Rows) error {
		var name, chain string
		var s coverage.Segment
		fields := []any{&name, &chain, &s.From, &s.To, &s.FromTime, &s.ToTime, &s.LowWater}
		_, err := pgx.ForEachRow(rows, fields, func() error {
			for _, c := range of(name) {
				if c.Chain == chain {
					addSegment(c, s)
				}
			}
			return nil
		})
		return err
	})
	batch.Queue(listDeclarations, stream, archive.Name).Query(func(rows pgx.Rows) error {
		var name string
		var d coverage.Declaration
		_, err := pgx.ForEachRow(rows, []any{&name, &d.From, &d.To, &d.EveryHeight, &d.Archived}, func() error {
			for _, c := range of(name) {
				c.Declarations = append(c.Declarations, coverage.Declaration{
					From: d.From.UTC(), To: d.To.UTC(), EveryHeight: d.EveryHeight, Archived: d.Archived,
				})
			}
			return nil
		})
		return err
	})
	batch.Queue(listLosses, stream, archive.Name).Query(func(rows pgx.Rows) error {
		var name string
		var h coverage.Hole
		_, err := pgx.ForEachRow(rows, []any{&name, &h.After, &h.Before}, func() error {
			for _, c := range of(name) {
				if len(c.Segments) == 0 { // between blocks the hole is known better
					c.Holes = append(c.Holes, coverage.Hole{After: h.After.UTC(), Before: h.Before.UTC()})
				}
			}
			return nil
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return failed(err)
	}
	for i := range all {
		if err := s.findMissingHeights(ctx, &all[i]); err != nil {
			return failed(err)
		}
	}
	return all, nil
}

func scanCovered(row pgx.CollectableRow) (c coverage.Coverage, err error) {
	var floor pgtype.Timestamptz
	err = row.Scan(&c.Stream, &c.Chain, &c.Vouched, &floor)
	c.Floor = finiteTime(floor)
	return c, err
}

// addSegment adds the next segment, with the hole before it.
func addSegment(c *coverage.Coverage, s coverage.Segment) {
	s.FromTime, s.ToTime, s.LowWater = s.FromTime.UTC(), s.ToTime.UTC(), s.LowWater.UTC()
	if n := len(c.Segments); n > 0 {
		before := c.Segments[n-1]
		hole := coverage.Hole{From: before.To + 1, To: s.From - 1, Known: true, After: before.LowWater, Before: s.FromTime}
		if hole.Before.Before(hole.After) {
			hole.After, hole.Before = hole.Before, hole.After
		}
		c.Holes = append(c.Holes, hole)
	}
	c.Segments = append(c.Segments, s)
}

// findMissingHeights adds the holes that there are in the declared intervals of flat rows.
func (s *Store) findMissingHeights(ctx context.Context, c *coverage.Coverage) error {
	for _, d := range c.Declarations {
		if !d.EveryHeight || !d.Archived {
			continue
		}
		rows, err := s.pool.Query(ctx, findMissingHeights, c.Stream, d.From, d.To)
		if err != nil {
			return err
		}
		holes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (coverage.Hole, error) {
			h := coverage.Hole{Known: true}
			err := row.Scan(&h.From, &h.To, &h.After, &h.Before)
			h.After, h.Before = h.After.UTC(), h.Before.UTC()
			return h, err
		})
		if err != nil {
			return err
		}
		for _, h := range holes {
			if !slices.Contains(c.Holes, h) { // of an interval that overlaps another
				c.Holes = append(c.Holes, h)
			}
		}
	}
	slices.SortStableFunc(c.Holes, func(a, b coverage.Hole) int { return a.After.Compare(b.After) })
	return nil
}

// MetricCoverage reads what the archive has of the events of a metric, for each of its chains. Where no stream has brought any
// of a chain yet, nothing is known of it.
func (s *Store) MetricCoverage(ctx context.Context, m RegisteredMetric) ([]coverage.Coverage, error) {
	var all []coverage.Coverage
	for _, chain := range m.Definition.Chains {
		c := coverage.Coverage{Chain: chain}
		var leftOut int64
		const owner = `select stream, sum(left_out)::bigint from stream_types where chain = $1 and event_type = any ($2)
			group by stream order by stream limit 1`
		err := s.pool.QueryRow(ctx, owner, chain, m.Definition.Calculation.EventTypes()).Scan(&c.Stream, &leftOut)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			all = append(all, c)
			continue
		case err != nil:
			return nil, fmt.Errorf("find the stream of %s: %w", m.Definition.Name, err)
		}
		streams, err := s.Coverage(ctx, c.Stream)
		if err != nil {
			return nil, err
		}
		for _, c := range streams {
			if c.Chain == chain {
				c.LeftOut = leftOut > 0
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// DeclareCoverage records what a feed says of a stream, which ended so when everything had been fed. Again is the same as once.
func (s *Store) DeclareCoverage(ctx context.Context, stream string, d coverage.Declaration, until events.ID) error {
	const insert = `insert into coverage_declarations (stream, from_time, to_time, every_height, until_id)
		values ($1, $2, $3, $4, $5)
		on conflict (stream, from_time, to_time) do update
		set every_height = excluded.every_height, until_id = excluded.until_id, declared_at = now()`
	if _, err := s.pool.Exec(ctx, insert, stream, d.From, d.To, d.EveryHeight, until.String()); err != nil {
		return fmt.Errorf("declare what %s holds: %w", stream, err)
	}
	return nil
}
