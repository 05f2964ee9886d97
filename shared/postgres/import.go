package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/read_below.sql
	readBelow string
	//go:embed sql/read_blocks.sql
	readBlocks string
	//go:embed sql/count_held.sql
	countHeld string
	//go:embed sql/read_left_out.sql
	readLeftOut string
	//go:embed sql/lock_stream.sql
	lockStream string
	//go:embed sql/close_holes.sql
	closeHoles string
	//go:embed sql/request_skipped.sql
	requestSkipped string
)

var _ archive.ImportStore = (*Store)(nil)

// Import runs decide in a transaction that copies entries and events, and requests runs of the windows that they lie in. Those
// begin after it has ended, since the rows of the stream's functions are locked. It fails with [archive.ErrNothingArchived]; what
// decide returns as an error is returned as it is.
func (s *Store) Import(
	ctx context.Context, request archive.ImportRequest, decide func(archive.Below) (archive.ImportEffects, error),
) error {
	times := make([]time.Time, len(request.Entries))
	for i, e := range request.Entries {
		times[i] = e.Time
	}
	failed := func(err error) error { return fmt.Errorf("import into %s: %w", request.Stream, err) }
	if err := s.makeMonths(ctx, times); err != nil {
		return failed(err)
	}
	var refused error
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		below, err := readBelowEnd(ctx, tx, request)
		if err != nil {
			return err
		}
		var effects archive.ImportEffects
		if effects, refused = decide(below); refused != nil {
			return refused
		}
		if len(effects.Entries) == 0 {
			return nil
		}
		return writeImport(ctx, tx, request.Stream, effects)
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		s.months.forget() // retention may have removed one
		return failed(err)
	}
	return nil
}

// readBelowEnd locks the row of the archive, and reads what an import is held against.
func readBelowEnd(ctx context.Context, tx pgx.Tx, request archive.ImportRequest) (below archive.Below, err error) {
	now, err := lockMark(ctx, tx, archive.Name, request.Stream)
	if errors.Is(err, pgx.ErrNoRows) {
		return below, archive.ErrNothingArchived
	}
	if err != nil {
		return below, err
	}
	below = archive.Below{
		Mark: now.mark, LowWater: now.low, Owners: make(delivery.Owners), LeftOut: make(map[delivery.Pair]bool),
		Blocks: make(map[int64]archive.Block), Held: make(map[string]int),
	}
	batch := &pgx.Batch{}
	batch.Queue(readBelow, request.Stream).QueryRow(func(row pgx.Row) error {
		var floor pgtype.Timestamptz
		if err := row.Scan(&below.Feed, &floor, &below.Height); err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
		below.Floor = finiteTime(floor)
		return nil
	})
	chains, types := columns(request.Pairs)
	var pair delivery.Pair
	batch.Queue(readOwners, chains, types).Query(func(rows pgx.Rows) error {
		var stream string
		_, err := pgx.ForEachRow(rows, []any{&pair.Chain, &pair.EventType, &stream}, func() error {
			below.Owners[pair] = stream
			return nil
		})
		return err
	})
	batch.Queue(readLeftOut, chains, types).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&pair.Chain, &pair.EventType}, func() error { below.LeftOut[pair] = true; return nil })
		return err
	})
	queueHeld(batch, request, below)
	return below, tx.SendBatch(ctx, batch).Close()
}

// queueHeld reads what the archive has of the entries of an import.
func queueHeld(batch *pgx.Batch, request archive.ImportRequest, below archive.Below) {
	var heights []int64
	var chains, types, hashes []string
	var times []time.Time
	for _, e := range request.Entries {
		if e.Height >= 0 {
			heights = append(heights, e.Height-1, e.Height, e.Height+1)
			continue
		}
		for _, event := range e.Events {
			chains, types, times = append(chains, e.Chain), append(types, event.Type), append(times, e.Time)
		}
		hashes = append(hashes, e.Hash)
	}
	if len(heights) > 0 {
		batch.Queue(readBlocks, request.Stream, heights).Query(func(rows pgx.Rows) error {
			var height int64
			var block archive.Block
			_, err := pgx.ForEachRow(rows, []any{&height, &block.Hash, &block.Parent}, func() error {
				below.Blocks[height] = block
				return nil
			})
			return err
		})
	}
	if len(hashes) > 0 {
		batch.Queue(countHeld, request.Stream, chains, types, times, hashes).Query(func(rows pgx.Rows) error {
			var hash string
			var entries int
			_, err := pgx.ForEachRow(rows, []any{&hash, &entries}, func() error { below.Held[hash] = entries; return nil })
			return err
		})
	}
}

func writeImport(ctx context.Context, tx pgx.Tx, stream string, effects archive.ImportEffects) error {
	if err := copyImported(ctx, tx, stream, effects.Entries); err != nil {
		return err
	}
	// A rebuild begins under the lock of its function's row. One that had begun is followed by the run that is requested here,
	// any other sees what was imported.
	if _, err := tx.Exec(ctx, lockStream, stream); err != nil {
		return fmt.Errorf("lock the stream's functions: %w", err)
	}
	metrics, err := readMetrics(ctx, tx, nil, metric.DecodeDefinition)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	queueClaims(batch, stream, effects.Claims)
	queueLeftOut(batch, effects.LeftOut)
	imported := make([]archive.Entry, len(effects.Entries))
	for i, e := range effects.Entries {
		imported[i] = e.Entry
	}
	queueImportedRuns(batch, metrics, imported)
	queueImportedCoverage(batch, stream, effects.Entries)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("request runs: %w", err)
	}
	return nil
}

var importedColumns = []string{
	"stream", "content_hash", "occurrence", "entry_time", "chain", "block_number", "parent_hash", "events",
}

// copyImported copies entries, and their events straight into the partitions of their months.
func copyImported(ctx context.Context, tx pgx.Tx, stream string, entries []archive.Imported) error {
	rows, byMonth := make([][]any, len(entries)), make(map[month][][]any)
	for i, e := range entries {
		var height any
		if e.Height >= 0 {
			height = e.Height
		}
		rows[i] = []any{
			stream, e.Hash, int32(e.Occurrence), e.Time, e.Chain, height, nullable(e.ParentHash), //nolint:gosec // bounded
			int32(len(e.Events)), //nolint:gosec // bounded
		}
		for _, event := range e.Events {
			var exact any
			if event.Exact != nil {
				exact = []byte(event.Exact)
			}
			m := monthOf(e.Time)
			byMonth[m] = append(byMonth[m], []any{
				e.Chain, event.Type, e.Time, stream, nil, nil, int32(event.Ordinal), height, event.Fields, exact, //nolint:gosec // bounded
			})
		}
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"imported_entries"}, importedColumns, pgx.CopyFromRows(rows)); err != nil {
		return fmt.Errorf("copy entries: %w", err)
	}
	for _, m := range slices.SortedFunc(maps.Keys(byMonth), func(a, b month) int { return a.start.Compare(b.start) }) {
		if _, err := tx.CopyFrom(ctx, m.of(chainEvents), eventColumns, pgx.CopyFromRows(byMonth[m])); err != nil {
			return fmt.Errorf("copy events: %w", err)
		}
	}
	return nil
}

// queueImportedRuns takes finality from the windows of events, and queues runs of them.
func queueImportedRuns(batch *pgx.Batch, metrics []RegisteredMetric, entries []archive.Entry) {
	times := make(map[delivery.Pair][]time.Time)
	for _, e := range entries {
		for _, event := range e.Events {
			pair := delivery.Pair{Chain: e.Chain, EventType: event.Type}
			if known := times[pair]; len(known) == 0 || !known[len(known)-1].Equal(e.Time) {
				times[pair] = append(known, e.Time)
			}
		}
	}
	var opened []bucket.Key
	for _, pair := range slices.SortedFunc(maps.Keys(times), delivery.Pair.Compare) {
		slices.SortFunc(times[pair], time.Time.Compare)
		for _, m := range metrics {
			counts := slices.Contains(m.Definition.Calculation.EventTypes(), pair.EventType)
			if !counts || !slices.Contains(m.Definition.Chains, pair.Chain) {
				continue
			}
			for _, size := range m.Definition.BucketSizes {
				windows := startsAround(size, times[pair], m.Definition.Skew())
				opened = append(opened, queueAgain(batch, m.ID, size, pair.Chain, windows, events.RevisedImported)...)
			}
		}
	}
	queueDependents(batch, opened)
}

// startsAround gives the starts of the windows that lie within a distance of ascending times, each once.
func startsAround(size bucket.Size, times []time.Time, distance time.Duration) (all []time.Time) {
	var until time.Time // the end of the last window
	for _, at := range times {
		from := at.Add(-distance)
		for _, bound := range []time.Time{events.Earliest, until} {
			if from.Before(bound) {
				from = bound
			}
		}
		for w := range size.Windows(from, at.Add(distance).Add(time.Microsecond)) {
			all, until = append(all, w.Start), w.End
		}
	}
	return all
}

// CloseHoles implements [archive.ImportStore].
func (s *Store) CloseHoles(ctx context.Context, stream string) (filled int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, closeHoles, archive.Name, stream)
		if filled = tag.RowsAffected(); err != nil || filled == 0 {
			return err
		}
		_, err = tx.Exec(ctx, requestSkipped, stream)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("close holes of %s: %w", stream, err)
	}
	return filled, nil
}

// BlockHash gives the hash of the block that the archive has of a stream at a height, empty where it has none.
func (s *Store) BlockHash(ctx context.Context, stream string, height uint64) (hash string, err error) {
	var number int64
	var parent string
	err = s.pool.QueryRow(ctx, readBlocks, stream, []int64{int64(height)}).Scan(&number, &hash, &parent) //nolint:gosec // a height
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read block %d of %s: %w", height, stream, err)
	}
	return hash, nil
}
