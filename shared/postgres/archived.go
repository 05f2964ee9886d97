package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
)

//go:embed sql/read_events.sql
var readEvents string

// Archived reads the events of a rebuild.
func (s *Store) Archived(
	ctx context.Context, rebuild aggregate.Rebuild, query aggregate.EventQuery, each func(events.Event, events.ID) error,
) (err error) {
	ctx, traced := startRebuildSpan(ctx, "read archived events", rebuild)
	defer func() { traced.Done(err) }()
	types := []string{query.EventType}
	if query.Blocks && query.EventType != events.BlockEvent {
		types = append(types, events.BlockEvent)
		query.Ordered = true // a block before its events
	}
	arguments := []any{
		rebuild.Span.Chain, types, query.From, query.To, storedPart(rebuild.Cut.Major), storedPart(rebuild.Cut.Minor),
	}
	columns := columnsOfFields(query)
	statement, arguments := columns.in(readEvents, arguments)
	if query.Ordered {
		statement += "order by entry_major nulls first, entry_minor, block_number, event_time, ordinal"
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// A statement lasts as long as its rows are being counted. The caller's context bounds that.
		if _, err := tx.Exec(ctx, "set local statement_timeout = 0"); err != nil {
			return err
		}
		skipped, err := quarantinedEntries(ctx, tx, rebuild.Function, rebuild.Stream)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, statement, arguments...)
		if err != nil {
			return err
		}
		return eachEvent(rows, rebuild.Span.Chain, query, columns, func(event events.Event, entry events.ID) error {
			if skipped[entry] {
				return nil
			}
			return each(event, entry)
		})
	})
	if err != nil {
		return fmt.Errorf("read archived events: %w", err)
	}
	// What retention drops while it is read was there when the floor was read: it is raised before.
	now, err := readRebuiltMetric(ctx, s.pool, rebuild.Function, rebuild.Span)
	if err == nil && query.Blocks && !now.blocks {
		err = fmt.Errorf("%w: blocks were left out", aggregate.ErrNotArchived)
	}
	return err
}

// quarantinedEntries gives the entries that a function has given up: it counts them nowhere.
func quarantinedEntries(ctx context.Context, tx pgx.Tx, function, stream string) (map[events.ID]bool, error) {
	const query = "select entry_id from dead_letters where stream = $1 and position('quarantined: ' || $2 || ' ' in reason) > 0"
	rows, err := tx.Query(ctx, query, stream, function)
	if err != nil {
		return nil, err
	}
	all := make(map[events.ID]bool)
	var id events.ID
	_, err = pgx.ForEachRow(rows, []any{text{&id}}, func() error { all[id] = true; return nil })
	return all, err
}

// eachEvent gives the events of rows one by one, those of blocks with the fields of these where that is asked for.
func eachEvent(
	rows pgx.Rows, chain string, query aggregate.EventQuery, columns *fieldColumns,
	each func(events.Event, events.ID) error,
) error {
	var eventType pgtype.DriverBytes
	var at time.Time
	var major, minor, height pgtype.Int8
	var ordinal int64
	targets := append([]any{&eventType, &at, &major, &minor, &ordinal, &height}, columns.targets()...)
	fields := make(map[string]any) // of one event after the other, but for blocks
	var block map[string]any
	var blockOf events.ID // the entry and,
	var blockAt int64     // since imported ones have none, the height
	_, err := pgx.ForEachRow(rows, targets, func() error {
		var entry events.ID
		if major.Valid {
			entry = events.ID{Major: uint64(major.Int64), Minor: uint64(minor.Int64)} //nolint:gosec // never negative
		}
		clear(fields)
		var err error
		if fields, err = columns.decode(fields); err != nil {
			return fmt.Errorf("%s of %s: %w", eventType, entry, err)
		}
		event := events.Event{Type: query.EventType, Chain: chain, Time: at.UTC(), Place: entry, Fields: fields}
		switch {
		case height.Valid:
			event.Place = events.ID{Major: uint64(height.Int64), Minor: uint64(ordinal)} //nolint:gosec // never negative
			if query.Blocks && ordinal == 0 {
				block, blockOf, blockAt = fields, entry, height.Int64
				fields = make(map[string]any)
			}
			if query.Blocks && blockOf == entry && blockAt == height.Int64 {
				event.Block = block
			}
		case !major.Valid:
			event.Place = events.ID{Minor: uint64(ordinal)} //nolint:gosec // never negative
		}
		if string(eventType) != query.EventType {
			return nil
		}
		return each(event, entry)
	})
	return err
}
