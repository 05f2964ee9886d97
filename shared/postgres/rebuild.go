package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/read_rebuilt.sql
	readRebuilt string
	//go:embed sql/read_pending.sql
	readPending string
	//go:embed sql/begin_rebuild.sql
	beginRebuild string
	//go:embed sql/count_rebuilding.sql
	countRebuilding string
	//go:embed sql/lock_windows.sql
	lockWindows string
	//go:embed sql/read_unbased.sql
	readUnbased string
	//go:embed sql/base_buckets.sql
	baseBuckets string
	//go:embed sql/delete_unbased.sql
	deleteUnbased string
	//go:embed sql/finish_rebuild.sql
	finishRebuild string
	//go:embed sql/abandon_rebuild.sql
	abandonRebuild string
	//go:embed sql/request_larger.sql
	requestLarger string
	//go:embed sql/read_children.sql
	readChildren string
)

var _ aggregate.Archive = (*Store)(nil)

// rebuilt is what a rebuild has to know of its metric.
type rebuilt struct {
	version          int
	oldestGeneration int64 // buckets of an older generation were made by another calculation
	definition       metric.Definition
	stream           string // that brings its events; empty where it is made of none
	blocks           bool   // the blocks of its chain are whole too
}

func readRebuiltMetric(ctx context.Context, db rowQuerier, function string, span aggregate.Span) (rebuilt, error) {
	var r rebuilt
	var stored []byte
	var stream *string
	var archiveFloor pgtype.Timestamptz
	var streams, leftOut, blocksLeftOut int64
	var hole, quarantined bool
	err := db.QueryRow(ctx, readRebuilt, span.Metric, span.Chain, function, archive.Name, span.Size.String()).
		Scan(&r.version, &r.oldestGeneration, &stored, &stream, &streams, &archiveFloor, &leftOut, &blocksLeftOut, &hole, &quarantined)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("%w: %s has no metric %d with %s buckets of chain %s", aggregate.ErrNotArchived, function, span.Metric,
			span.Size, span.Chain)
	}
	if err != nil {
		return r, err
	}
	if r.definition, err = metric.DecodeDefinition(stored); err != nil {
		return r, err
	}
	types := strings.Join(r.definition.Calculation.EventTypes(), ", ")
	switch {
	case types == "":
		return r, nil
	case stream == nil:
		return r, fmt.Errorf("%w: no stream has brought events of type %s yet", aggregate.ErrNotArchived, types)
	case streams > 1:
		return r, fmt.Errorf("%w: events of types %s come by %d streams: leave in event_types those of one", aggregate.ErrNotArchived,
			types, streams)
	}
	r.stream, r.blocks = *stream, blocksLeftOut == 0
	floor := finiteTime(archiveFloor)
	switch {
	case hole:
		return r, fmt.Errorf("%w: entries of %s were lost before they were", aggregate.ErrNotArchived, r.stream)
	case quarantined:
		return r, fmt.Errorf("%w: the archive has given up entries of %s", aggregate.ErrNotArchived, r.stream)
	case leftOut > 0:
		return r, fmt.Errorf("%w: %d events of type %s were left out", aggregate.ErrNotArchived, leftOut, types)
	case beginsBelow(r.definition, span.From, floor):
		return r, fmt.Errorf("%w: the archive is whole from %s on", aggregate.ErrNotArchived, floor.Format(time.RFC3339))
	}
	return r, nil
}

// beginsBelow tells whether events of before the archive's floor, zero where it has none, may belong to a window, by its start.
func beginsBelow(d metric.Definition, start, floor time.Time) bool {
	return start.Add(-d.Skew()).Before(floor)
}

// rowQuerier is a pool or a transaction.
type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
}

// BeginRebuild makes the function's watermark on the stream of the span's events the cut of a rebuild of all its windows.
func (s *Store) BeginRebuild(
	ctx context.Context, function string, span aggregate.Span, windows []bucket.Key,
) (begun aggregate.Rebuild, err error) {
	ctx, traced := startSpan(ctx, "begin rebuild", function, "")
	defer func() { traced.Done(err) }()
	r, err := readRebuiltMetric(ctx, s.pool, function, span)
	if err != nil {
		return begun, err
	}
	if r.stream != "" {
		if err := s.makeRow(ctx, enterAny, function, r.stream); err != nil {
			return begun, err
		}
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		begun = aggregate.Rebuild{Function: function, Stream: r.stream, Span: span, Windows: windows}
		at, err := lockRebuild(ctx, tx, begun)
		if err != nil {
			return err
		}
		begun.Cut = at.mark.ID
		if err := checkArchive(ctx, tx, begun); err != nil {
			return err
		}
		now, err := readRebuiltMetric(ctx, tx, function, span) // the stream of a pair never changes
		if err != nil {
			return err
		}
		begun.Version, begun.Definition, begun.OldestGeneration = now.version, now.definition, now.oldestGeneration
		if begun.Whole, err = wholeUntil(ctx, tx, begun, at.low); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "select nextval('rebuild_generation')").Scan(&begun.Generation); err != nil {
			return err
		}
		c := columnsOf(windows)
		if _, err := tx.Exec(ctx, beginRebuild, c.metrics, c.sizes, c.starts, c.chains, begun.Generation, begun.Cut.String()); err != nil {
			return err
		}
		if begun.Children, err = readRebuildChildren(ctx, tx, begun); err != nil {
			return err
		}
		return raiseVersion(ctx, tx, function, r.stream)
	})
	return begun, againAfterDeadlock(err)
}

// lockRebuild locks the watermark's row of a rebuild, which also keeps other rebuilds of the windows away; where there is no stream, the
// rows of the windows, as far as there are any.
func lockRebuild(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild) (locked, error) {
	if rebuild.Stream != "" {
		return lockMark(ctx, tx, rebuild.Function, rebuild.Stream)
	}
	span := rebuild.Span
	// Its definition before its windows, as where that is changed.
	if _, err := tx.Exec(ctx, "select from metric_registry where metric_id = $1 for share", span.Metric); err != nil {
		return locked{}, err
	}
	_, err := tx.Exec(ctx, lockWindows, span.Metric, span.Size.String(), span.From, span.To, span.Chain)
	return locked{}, err
}

// mostChildren is how many buckets are read while the stream waits.
const mostChildren = 20_000

// readRebuildChildren gives the states of which a span is made, as the cut has them: those of a smaller size, where all windows
// of it are final, so that nothing is to be done in them; otherwise nil.
func readRebuildChildren(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild) (map[bucket.Key][]byte, error) {
	span := rebuild.Span
	size, ok := span.Size.Child(rebuild.Definition.BucketSizes)
	if !ok || rebuild.Definition.Calculation.Stream == nil { // what a query gives for a day need not be what it gives for its hours
		return nil, nil //nolint:nilnil // no children
	}
	windows := len(starts(size, span.From, span.To))
	rows, err := tx.Query(ctx, readChildren, span.Metric, size.String(), span.From, span.To, span.Chain, windows, mostChildren+1)
	if err != nil {
		return nil, err
	}
	children := make(map[bucket.Key][]byte)
	whole := false
	key := bucket.Key{Metric: span.Metric, Size: size, Chain: span.Chain}
	var start *time.Time // null, as what follows it, in the only row where there are no buckets
	var dimensions *string
	var state []byte
	_, err = pgx.ForEachRow(rows, []any{&start, &dimensions, &state}, func() error {
		if whole = true; start != nil {
			key.Start, key.Dimensions = start.UTC(), *dimensions
			children[key] = state
		}
		return nil
	})
	if err != nil || !whole || len(children) > mostChildren {
		return nil, err
	}
	return children, nil
}

// checkArchive fails with [aggregate.ErrArchiveBehind] where the archive has not reached the cut, or a revert or a range that
// was passed over before it has not been looked at.
func checkArchive(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild) error {
	if rebuild.Stream == "" {
		return nil
	}
	var reached events.ID
	var reverted, passed bool
	err := tx.QueryRow(ctx, readPending, archive.Name, rebuild.Stream, rebuild.Function).
		Scan(text{&reached}, &reverted, &passed)
	if err != nil {
		return err
	}
	switch {
	case reached.Compare(rebuild.Cut) < 0:
		return fmt.Errorf("%w: it is at %s, %s at %s", aggregate.ErrArchiveBehind, reached, rebuild.Function, rebuild.Cut)
	case reverted:
		return fmt.Errorf("%w: a reorganisation of %s has still to be looked at", aggregate.ErrArchiveBehind, rebuild.Stream)
	case passed:
		return fmt.Errorf("%w: what %s has passed over of %s has still to be looked at", aggregate.ErrArchiveBehind, rebuild.Function,
			rebuild.Stream)
	}
	return nil
}

// AbandonRebuild gives a rebuild up, so that the function keeps nothing beside for it.
func (s *Store) AbandonRebuild(ctx context.Context, rebuild aggregate.Rebuild) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := lockRebuild(ctx, tx, rebuild); err != nil {
			return err
		}
		span := rebuild.Span
		_, err := tx.Exec(ctx, abandonRebuild, span.Metric, span.Size.String(), span.From, span.To, span.Chain, rebuild.Generation)
		if err != nil {
			return err
		}
		return raiseVersion(ctx, tx, rebuild.Function, rebuild.Stream)
	})
}

// raiseVersion makes a function read the registry again before it goes on with a stream, whose row is locked.
func raiseVersion(ctx context.Context, tx pgx.Tx, function, stream string) error {
	_, err := tx.Exec(ctx, raiseVersionOf, function, stream)
	return err
}

const raiseVersionOf = "update stream_watermarks set version = nextval('registry_version') where function = $1 and stream = $2"

// InstallRebuild stores some buckets of a rebuild.
func (s *Store) InstallRebuild(
	ctx context.Context, rebuild aggregate.Rebuild, keys []bucket.Key,
	decide func(aggregate.Current) ([]aggregate.Bucket, error),
) (err error) {
	ctx, traced := startRebuildSpan(ctx, "install rebuild", rebuild)
	defer func() { traced.Done(err) }()
	groups := byPartition(keys)
	if err := s.makePartitions(ctx, groups); err != nil {
		return err
	}
	return s.inRebuild(ctx, rebuild, func(tx pgx.Tx) error {
		current := aggregate.Current{States: make(map[bucket.Key][]byte), Parts: make(map[bucket.Key]aggregate.Part)}
		batch := &pgx.Batch{}
		for p, some := range groups {
			queueStates(batch, p, some, current.States, current.Parts)
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		changed, err := s.base(ctx, tx, rebuild, current, decide)
		if err != nil {
			return err
		}
		if err := requestFollowingChecked(ctx, tx, rebuild, changed); err != nil {
			return err
		}
		return requestDependents(ctx, tx, changed) // of final ones: no moment may show them beside what was made of others
	})
}

// FinishRebuild deals with the buckets that have no part in a rebuild, and ends it.
func (s *Store) FinishRebuild(
	ctx context.Context, rebuild aggregate.Rebuild, decide func(aggregate.Current) ([]aggregate.Bucket, error),
	tallies func() []aggregate.Tally, failures aggregate.Failures,
) (err error) {
	ctx, traced := startRebuildSpan(ctx, "finish rebuild", rebuild)
	defer func() { traced.Done(err) }()
	return s.inRebuild(ctx, rebuild, func(tx pgx.Tx) error {
		current := aggregate.Current{States: make(map[bucket.Key][]byte), Parts: make(map[bucket.Key]aggregate.Part)}
		span := rebuild.Span
		of := []any{span.Metric, span.Size.String(), span.From, span.To, span.Chain}
		rows, err := tx.Query(ctx, readUnbased, append(of, rebuild.Generation)...)
		if err != nil {
			return err
		}
		key := bucket.Key{Metric: span.Metric, Size: span.Size, Chain: span.Chain}
		var state, next []byte
		var part aggregate.Part
		_, err = pgx.ForEachRow(rows, []any{&key.Start, &key.Dimensions, &state, &part.Generation, &next, &part.NextGeneration}, func() error {
			key.Start, part.Next = key.Start.UTC(), next
			current.States[key], current.Parts[key] = state, part
			return nil
		})
		if err != nil {
			return err
		}
		wereFinal, err := finalWindows(ctx, tx, rebuild)
		if err != nil {
			return err
		}
		affected, err := s.base(ctx, tx, rebuild, current, decide)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, deleteUnbased, append(of, rebuild.Generation, span.Lease)...); err != nil {
			return err
		}
		final, blocked, err := closing(ctx, tx, rebuild, failures)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		t := columnsOfTallies(tallies())
		batch.Queue(finishRebuild, append(of, rebuild.Version, final, t.starts, t.observations, t.buckets, t.changes, span.Lease,
			rebuild.Stream, blocked)...)
		if open := firstOpen(rebuild); open.Before(span.To) { // they may have been due before a reorganisation
			batch.Queue(dueAgain, span.Metric, span.Size.String(), span.Chain, open)
		}
		queueLarger(batch, rebuild, t, &affected)
		queueNext(batch, rebuild, t)
		queueSuccess(batch, rebuild, t)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		areFinal, err := finalWindows(ctx, tx, rebuild)
		if err != nil {
			return err
		}
		for i, window := range rebuild.Windows {
			if wereFinal[window.Start] != areFinal[window.Start] || areFinal[window.Start] && t.changes[i] > 0 {
				affected = append(affected, window)
			}
		}
		if err := requestDependents(ctx, tx, affected); err != nil {
			return err
		}
		return raiseVersion(ctx, tx, rebuild.Function, rebuild.Stream)
	})
}

// queueLarger has the larger windows computed again that may have been made of buckets which a run has put right, though nothing
// explains why. It adds those that were final to some windows.
func queueLarger(batch *pgx.Batch, rebuild aggregate.Rebuild, t tallyColumns, opened *[]bucket.Key) {
	span := rebuild.Span
	var changed []time.Time
	for i, start := range t.starts {
		if t.changes[i] > 0 {
			changed = append(changed, start)
		}
	}
	for _, size := range rebuild.Definition.BucketSizes {
		if size <= span.Size || len(changed) == 0 || rebuild.Definition.Calculation.Stream == nil {
			continue
		}
		larger := make([]time.Time, len(changed))
		for i, start := range changed {
			larger[i] = size.Window(start).Start
		}
		batch.Queue(requestLarger, span.Metric, size.String(), span.Chain, changed, larger, span.Lease).Query(func(rows pgx.Rows) error {
			starts, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
			*opened = append(*opened, windowsOf(span.Metric, size, span.Chain, starts)...)
			return err
		})
	}
}

// base stores what decide gives, as based on the rebuild. It gives the windows of which that changes what is shown.
func (s *Store) base(
	ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild, current aggregate.Current,
	decide func(aggregate.Current) ([]aggregate.Bucket, error),
) (changed []bucket.Key, err error) {
	buckets, err := decide(current)
	if err != nil || len(buckets) == 0 {
		return nil, err
	}
	batch := &pgx.Batch{}
	queueRevisions(batch, buckets, &rebuild.Span.Lease)
	queueBuckets(batch, buckets)
	keys := make([]bucket.Key, len(buckets))
	for i, b := range buckets {
		keys[i] = b.Key
		if window := b.Key.AllDimensions(); b.Changed && (len(changed) == 0 || changed[len(changed)-1] != window) {
			changed = append(changed, window)
		}
	}
	for p, some := range byPartition(keys) {
		c := columnsOf(some)
		batch.Queue(p.in(baseBuckets), c.metrics, c.sizes, c.starts, c.chains, c.dimensions, rebuild.Generation)
	}
	return changed, tx.SendBatch(ctx, batch).Close()
}

// inRebuild runs a transaction under the lock of the watermark's row, if the rebuild goes on. It fails with
// [aggregate.ErrSuperseded].
func (s *Store) inRebuild(ctx context.Context, rebuild aggregate.Rebuild, do func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := lockRebuild(ctx, tx, rebuild); err != nil {
			return err
		}
		var going int
		span := rebuild.Span
		err := tx.QueryRow(ctx, countRebuilding, span.Metric, span.Size.String(), span.From, span.To, span.Chain,
			rebuild.Generation, rebuild.Version).Scan(&going)
		if err != nil {
			return err
		}
		if going != len(rebuild.Windows) {
			return aggregate.ErrSuperseded
		}
		if err := verifyLease(ctx, tx, rebuild); err != nil {
			return err
		}
		return do(tx)
	})
	return againAfterDeadlock(err)
}

// againAfterDeadlock has a rebuild done once more that was in the way of others.
func againAfterDeadlock(err error) error {
	if hasCode(err, deadlockDetected) {
		return fmt.Errorf("%w: %w", aggregate.ErrSuperseded, err)
	}
	return err
}

// wholeUntil gives the chain time up to which the windows of a rebuild lack nothing at its cut, by the low-water time there. Between a
// revert and the next block that is not known: then it is how far windows were due before, less those that held what was taken back.
// Where there is no stream the clock tells or, of a derived metric, what it depends on.
func wholeUntil(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild, low time.Time) (time.Time, error) {
	if rebuild.Definition.Calculation.Derived != nil {
		return rebuild.Span.To, nil
	}
	if rebuild.Stream == "" {
		var now time.Time
		err := tx.QueryRow(ctx, "select clock_timestamp()").Scan(&now)
		return now.Add(-time.Duration(rebuild.Definition.Grace)), err
	}
	if low.IsZero() {
		span := rebuild.Span
		return requestedUntil(ctx, tx, span.Metric, span.Size, span.Chain)
	}
	return low.Add(-rebuild.Definition.Delay()), nil
}

// firstOpen gives the start of the first window of which more may come after the cut. Those before it are final, as far as that goes.
func firstOpen(rebuild aggregate.Rebuild) time.Time {
	for w := range rebuild.Span.Size.Windows(rebuild.Span.From, rebuild.Span.To) {
		if w.End.After(rebuild.Whole) {
			return w.Start
		}
	}
	return rebuild.Span.To
}
