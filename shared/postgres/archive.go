package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
)

var (
	//go:embed sql/revert_entries.sql
	revertEntries string
	//go:embed sql/revert_events.sql
	revertEvents string
	//go:embed sql/revert_imported_events.sql
	revertImportedEvents string
	//go:embed sql/revert_imported.sql
	revertImported string
)

// Tables of the archive, each with a partition per month.
const (
	archivedEntries = "archived_entries"
	chainEvents     = "chain_events"
)

// month is the partitions of the archive for what happened in a month, the zero month those for all that was before 2009.
type month struct {
	start time.Time
}

func monthOf(t time.Time) month {
	if !events.Bucketed(t) {
		return month{}
	}
	t = t.UTC()
	return month{start: time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)}
}

func (m month) next() month { return month{start: m.start.AddDate(0, 1, 0)} }

func (m month) name() string {
	if m.start.IsZero() {
		return "early"
	}
	return m.start.Format("2006_01")
}

// of gives the name of the partition of a table.
func (m month) of(table string) pgx.Identifier { return pgx.Identifier{table + "_" + m.name()} }

// makeMonths makes the partitions that entries of such times need, and soon will need, each in a transaction of its own.
func (s *Store) makeMonths(ctx context.Context, times []time.Time) error {
	needed := make(map[month]struct{})
	for _, t := range times {
		needed[monthOf(t)], needed[monthOf(t.Add(partitionLead))] = struct{}{}, struct{}{}
	}
	delete(needed, month{}) // the schema has them
	for _, m := range s.months.lacking(needed) {
		if err := s.addMonth(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// RenewArchivePartitions makes the partitions for this month and the next. It asks the database whatever it remembers, so that
// a partition that somebody removed comes back.
func (s *Store) RenewArchivePartitions(ctx context.Context, now time.Time) error {
	if err := checkClock(now); err != nil {
		return fmt.Errorf("renew partitions of the archive: %w", err)
	}
	for _, m := range []month{monthOf(now), monthOf(now).next()} {
		if err := s.addMonth(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) addMonth(ctx context.Context, m month) error {
	for table, column := range map[string]string{archivedEntries: "entry_time", chainEvents: "event_time"} {
		const add = "select add_partition($1, $2, $3, $4, $5, 'true', '')"
		if _, err := s.pool.Exec(ctx, add, table, m.of(table)[0], column, m.start, m.next().start); err != nil {
			return fmt.Errorf("add partition of %s for %s: %w", table, m.name(), err)
		}
	}
	s.months.learn(m)
	return nil
}

// Archive runs decide in a transaction that copies entries and events into the partitions of their months. Those, where they
// are new, are made before it. What decide returns as an error is returned as it is.
func (s *Store) Archive(
	ctx context.Context, request archive.Request, decide func(archive.Current) (archive.Effects, error),
) error {
	err := s.archive(ctx, request, decide)
	if errors.Is(err, pgx.ErrNoRows) {
		if err = s.makeRow(ctx, enterAny, archive.Name, request.Stream); err == nil {
			err = s.archive(ctx, request, decide)
		}
	}
	return err
}

func (s *Store) archive(
	ctx context.Context, request archive.Request, decide func(archive.Current) (archive.Effects, error),
) error {
	failed := func(err error) error { return fmt.Errorf("archive %s: %w", request.Stream, err) }
	if err := s.makeMonths(ctx, request.Times); err != nil {
		return failed(err)
	}
	var refused error
	newest := make(map[string]newestSegment)
	err := s.take(ctx, turn{
		function: archive.Name, stream: request.Stream, pairs: request.Pairs,
		read: func(batch *pgx.Batch) { queueNewestSegments(batch, request.Stream, newest) },
		decide: func(now locked) (progress, error) {
			var effects archive.Effects
			if effects, refused = decide(archive.Current{Mark: now.mark, LowWater: now.low, Owners: now.owners}); refused != nil {
				return progress{}, refused
			}
			return progress{
				mark: effects.Mark, low: effects.LowWater, claims: effects.Claims, letters: effects.DeadLetters,
				copies: func(ctx context.Context, conn *pgx.Conn) error {
					if err := copyEntries(ctx, conn, request.Stream, effects.Entries); err != nil {
						return err
					}
					return adopt(ctx, conn, request.Stream, effects.Entries)
				},
				write: func(batch *pgx.Batch) {
					queueArchivedReverts(batch, request.Stream, effects.Entries)
					queueSegments(batch, request.Stream, newest, effects.Entries)
					queueLeftOut(batch, effects.LeftOut)
				},
				rows: countRows(effects.Entries),
			}, nil
		},
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// countRows counts the rows that entries are, with their events.
func countRows(entries []archive.Entry) int {
	rows := len(entries)
	for i := range entries {
		rows += len(entries[i].Events)
	}
	return rows
}

var (
	entryColumns = []string{
		"stream", "entry_major", "entry_minor", "entry_time", "content_hash", "chain", "block_number", "parent_hash", "events",
	}
	eventColumns = []string{
		"chain", "event_type", "event_time", "stream", "entry_major", "entry_minor", "ordinal", "block_number", "fields",
		"exact_fields",
	}
)

// copyEntries copies entries and their events, those of each month straight into its partitions.
func copyEntries(ctx context.Context, conn *pgx.Conn, stream string, entries []archive.Entry) error {
	byMonth := make(map[month][]archive.Entry)
	for _, e := range entries {
		if major, minor := e.ID.Major, e.ID.Minor; int64(major) < 0 || int64(minor) < 0 { //nolint:gosec // to see what has no room
			continue // it is a dead letter
		}
		byMonth[monthOf(e.Time)] = append(byMonth[monthOf(e.Time)], e)
	}
	for _, m := range slices.SortedFunc(maps.Keys(byMonth), func(a, b month) int { return a.start.Compare(b.start) }) {
		rows, events := rowsOf(stream, byMonth[m])
		if _, err := conn.CopyFrom(ctx, m.of(archivedEntries), entryColumns, pgx.CopyFromRows(rows)); err != nil {
			return fmt.Errorf("copy entries: %w", err)
		}
		if len(events) == 0 {
			continue
		}
		if _, err := conn.CopyFrom(ctx, m.of(chainEvents), eventColumns, pgx.CopyFromRows(events)); err != nil {
			return fmt.Errorf("copy events: %w", err)
		}
	}
	return nil
}

// rowsOf gives the values of the columns.
func rowsOf(stream string, entries []archive.Entry) (rows, events [][]any) {
	for _, e := range entries {
		major, minor := int64(e.ID.Major), int64(e.ID.Minor) //nolint:gosec // others were left out
		var height any
		if e.Height >= 0 {
			height = e.Height
		}
		blockHeight := height
		if e.Revert != nil {
			blockHeight = nil
		}
		rows = append(rows, []any{
			stream, major, minor, e.Time, e.Hash, nullable(e.Chain), height, nullable(e.ParentHash), int32(len(e.Events)), //nolint:gosec // a bounded list
		})
		for _, event := range e.Events {
			var exact any
			if event.Exact != nil {
				exact = []byte(event.Exact)
			}
			events = append(events, []any{
				e.Chain, event.Type, e.Time, stream, major, minor, int32(event.Ordinal), blockHeight, event.Fields, exact, //nolint:gosec // a bounded list
			})
		}
	}
	return rows, events
}

// nullable gives null for an empty text.
func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// queueArchivedReverts marks what the reverts among the entries take back, in stream order.
func queueArchivedReverts(batch *pgx.Batch, stream string, entries []archive.Entry) {
	for _, e := range entries {
		if e.Revert == nil {
			continue
		}
		for _, statement := range []string{revertEvents, revertEntries} {
			batch.Queue(statement, stream, storedPart(e.ID.Major), storedPart(e.ID.Minor),
				storedPart(e.Revert.Ancestor.Major), storedPart(e.Revert.Ancestor.Minor))
		}
		for _, statement := range []string{revertImportedEvents, revertImported} {
			batch.Queue(statement, stream, storedPart(e.ID.Major), storedPart(e.ID.Minor), storedPart(e.Revert.Number))
		}
	}
}

func queueLeftOut(batch *pgx.Batch, leftOut map[delivery.Pair]int64) {
	for _, pair := range slices.SortedFunc(maps.Keys(leftOut), delivery.Pair.Compare) {
		batch.Queue("update stream_types set left_out = left_out + $3 where chain = $1 and event_type = $2",
			pair.Chain, pair.EventType, leftOut[pair])
	}
}

// storedPart gives a part of an id as the archive's columns hold it: of one that has no room there, the greatest.
func storedPart(part uint64) int64 { return int64(min(part, math.MaxInt64)) }
