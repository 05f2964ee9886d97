package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

//go:embed sql/read_dependencies.sql
var readDependencies string

// Dependencies reads what a derived metric is computed of, in one snapshot.
func (s *Store) Dependencies(ctx context.Context, rebuild aggregate.Rebuild) (all []aggregate.Dependency, err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.pool, snapshot, func(tx pgx.Tx) error {
		metrics, err := readMetrics(ctx, tx, rebuild.Definition.Calculation.Derived.Dependencies, legible)
		if err != nil {
			return err
		}
		ids, place := make([]int64, len(metrics)), make(map[int64]int, len(metrics))
		all = make([]aggregate.Dependency, len(metrics))
		for i, m := range metrics {
			ids[i], place[m.ID] = m.ID, i
			all[i] = aggregate.Dependency{Name: m.Definition.Name, Dimensions: m.Definition.Calculation.DimensionNames()}
		}
		span := rebuild.Span
		rows, err := tx.Query(ctx, readDependencies, ids, span.Size.String(), span.From, span.To, span.Chain)
		if err != nil {
			return err
		}
		var id int64
		var start time.Time
		var dimensions map[string]string
		var value decimal.Decimal
		_, err = pgx.ForEachRow(rows, []any{&id, &start, &dimensions, text{&value}}, func() error {
			d := &all[place[id]]
			d.Values = append(d.Values, aggregate.DependencyValue{Start: start.UTC(), Dimensions: dimensions, Value: value})
			dimensions = nil // the next one is another map
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what %s depends on: %w", rebuild.Definition.Name, err)
	}
	return all, nil
}
