package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

var (
	//go:embed sql/read_buckets.sql
	readBuckets string
	//go:embed sql/read_standings.sql
	readStandings string
	//go:embed sql/read_run_standings.sql
	readRunStandings string
)

// Query asks for buckets of one metric and size.
type Query struct {
	Metric string
	Size   bucket.Size
	// From and To bound the starts of the windows: at or after From, before To. Zero leaves a side open.
	From, To   time.Time
	Before     bool              // also the last bucket before From, of each chain and set of dimensions
	Chain      string            // empty: all
	Dimensions map[string]string // those that a bucket must have, among others
	// AsOf is the moment at which the answer was true, of windows that had been final by then; zero: now, of all windows.
	AsOf time.Time
}

// Answer is what a query gives.
type Answer struct {
	Buckets   []BucketRow // ordered by chain, dimensions and start
	Standings []Standing  // ordered by chain and stream; none of an earlier moment, of which they are not known
}

// Standing is how far a metric's buckets of a chain hold what was to come.
type Standing struct {
	Chain     string
	Stream    string    // empty: it comes by none, or by several
	Watermark events.ID // the last entry of the stream that is in them; where runs compute them, that was applied
	// Incomplete says that something up to there is not in them, since it has still to be computed from the archive, or could not be.
	Incomplete bool
	// LowWater is the time before which all that was expected is in them, of windows that end by then where runs compute them; zero: that
	// is not known.
	LowWater time.Time
}

// BucketRow is a bucket as it is shown.
type BucketRow struct {
	Chain      string
	Window     bucket.Window
	Dimensions map[string]string
	Value      decimal.Decimal
	Detail     json.RawMessage // JSON object, or nil
	Final      bool            // whether history has confirmed the window
}

// Buckets reads buckets, ordered by chain, dimensions and start. It fails with [ErrUnknownMetric].
func (s *Store) Buckets(ctx context.Context, query Query) ([]BucketRow, error) {
	answer, err := s.Answer(ctx, query)
	return answer.Buckets, err
}

// Answer reads buckets, and in the same snapshot how far they hold. It fails with [ErrUnknownMetric].
func (s *Store) Answer(ctx context.Context, query Query) (answer Answer, err error) {
	m, err := s.Metric(ctx, query.Metric)
	if err != nil {
		return answer, err
	}
	read := readStandings
	if m.Definition.Calculation.Stream == nil {
		read = readRunStandings
	}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.pool, snapshot, func(tx pgx.Tx) error {
		if answer.Buckets, err = buckets(ctx, tx, query); err != nil || !query.AsOf.IsZero() {
			return err
		}
		answer.Standings, err = standings(ctx, tx, read, query)
		return err
	})
	if err != nil {
		return Answer{}, fmt.Errorf("read %s buckets of %s: %w", query.Size, query.Metric, err)
	}
	return answer, nil
}

func buckets(ctx context.Context, tx pgx.Tx, query Query) ([]BucketRow, error) {
	dimensions := query.Dimensions
	if dimensions == nil {
		dimensions = map[string]string{}
	}
	from, to := openRange(query.From, query.To)
	relation := "metric_buckets"
	arguments := []any{query.Metric, query.Size.String(), from, to, query.Chain, dimensions, query.Before}
	if !query.AsOf.IsZero() {
		relation, arguments = "metric_buckets_at($8)", append(arguments, query.AsOf)
	}
	rows, err := tx.Query(ctx, strings.ReplaceAll(readBuckets, "{buckets}", relation), arguments...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanBucket)
}

// openRange gives the ends of a range of time, of which those that are zero are infinite.
func openRange(from, to time.Time) (first, last pgtype.Timestamptz) {
	first, last = pgtype.Timestamptz{Time: from, Valid: true}, pgtype.Timestamptz{Time: to, Valid: true}
	if from.IsZero() {
		first.InfinityModifier = pgtype.NegativeInfinity
	}
	if to.IsZero() {
		last.InfinityModifier = pgtype.Infinity
	}
	return first, last
}

func standings(ctx context.Context, tx pgx.Tx, read string, query Query) ([]Standing, error) {
	from, to := openRange(query.From, query.To)
	rows, err := tx.Query(ctx, read, query.Metric, query.Chain, query.Size.String(), from, to)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (standing Standing, err error) {
		var low pgtype.Timestamptz
		err = row.Scan(&standing.Chain, &standing.Stream, text{&standing.Watermark}, &low, &standing.Incomplete)
		if !standing.Incomplete {
			standing.LowWater = finiteTime(low)
		}
		return standing, err
	})
}

func scanBucket(row pgx.CollectableRow) (b BucketRow, err error) {
	err = row.Scan(&b.Chain, &b.Window.Start, &b.Window.End, &b.Dimensions, text{&b.Value}, &b.Detail, &b.Final)
	b.Window.Start, b.Window.End = b.Window.Start.UTC(), b.Window.End.UTC()
	return b, err
}
