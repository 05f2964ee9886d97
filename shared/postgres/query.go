package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

//go:embed sql/read_buckets.sql
var readBuckets string

// Query asks for buckets of one metric and size.
type Query struct {
	Metric string
	Size   bucket.Size
	// From and To bound the starts of the windows: at or after From, before To. Zero leaves a side open.
	From, To   time.Time
	Before     bool              // also the last bucket before From, of each chain and set of dimensions
	Chain      string            // empty: all
	Dimensions map[string]string // those that a bucket must have, among others
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
	if _, err := s.Metric(ctx, query.Metric); err != nil {
		return nil, err
	}
	dimensions := query.Dimensions
	if dimensions == nil {
		dimensions = map[string]string{}
	}
	from := pgtype.Timestamptz{Time: query.From, Valid: true}
	if query.From.IsZero() {
		from.InfinityModifier = pgtype.NegativeInfinity
	}
	to := pgtype.Timestamptz{Time: query.To, Valid: true}
	if query.To.IsZero() {
		to.InfinityModifier = pgtype.Infinity
	}
	rows, err := s.pool.Query(ctx, readBuckets, query.Metric, query.Size.String(), from, to, query.Chain, dimensions, query.Before)
	if err != nil {
		return nil, fmt.Errorf("read %s buckets of %s: %w", query.Size, query.Metric, err)
	}
	buckets, err := pgx.CollectRows(rows, scanBucket)
	if err != nil {
		return nil, fmt.Errorf("read %s buckets of %s: %w", query.Size, query.Metric, err)
	}
	return buckets, nil
}

func scanBucket(row pgx.CollectableRow) (b BucketRow, err error) {
	err = row.Scan(&b.Chain, &b.Window.Start, &b.Window.End, &b.Dimensions, text{&b.Value}, &b.Detail, &b.Final)
	b.Window.Start, b.Window.End = b.Window.Start.UTC(), b.Window.End.UTC()
	return b, err
}
