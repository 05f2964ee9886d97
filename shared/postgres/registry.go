package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/read_registry.sql
	readRegistry string
	//go:embed sql/read_rebuilding.sql
	readRebuilding string
	//go:embed sql/list_metrics.sql
	listMetrics string
)

// Changes of the registry exclude each other, and the making of rows in stream_watermarks. This lock comes before those of
// rows.
const (
	lockRegistry  = "select pg_advisory_xact_lock(hashtextextended('metric_registry', 0))"
	shareRegistry = "select pg_advisory_xact_lock_shared(hashtextextended('metric_registry', 0))"
)

// ErrUnknownMetric says that the registry has no metric of that name.
var ErrUnknownMetric = errors.New("unknown metric")

// RegisteredMetric is a definition in the registry.
type RegisteredMetric struct {
	ID                   int64
	Version              int // counts the changes, from 1
	Definition           metric.Definition
	CreatedAt, UpdatedAt time.Time
	PausedAt             *time.Time // nil: it is not paused
	// Since has, for each stream that was begun before the metric or its calculation, the entry after which the metric counts,
	// until what was before is requested from the archive.
	Since map[string]events.ID
}

// Registry reads, in one snapshot, the definitions of the function's metric type and the version of the pair's row, which
// it makes where the pair is new. It fails, naming the metric, where a definition has what this version does not know.
func (s *Store) Registry(ctx context.Context, function, stream string) (aggregate.Registry, error) {
	registry, err := s.registry(ctx, function, stream)
	if errors.Is(err, pgx.ErrNoRows) {
		if err = s.makeRow(ctx, enterAny, function, stream); err == nil {
			registry, err = s.registry(ctx, function, stream)
		}
	}
	if err != nil {
		return aggregate.Registry{}, fmt.Errorf("read registry for %s on %s: %w", function, stream, err)
	}
	return registry, nil
}

func (s *Store) registry(ctx context.Context, function, stream string) (registry aggregate.Registry, err error) {
	rows, err := s.pool.Query(ctx, readRegistry, function, stream)
	if err != nil {
		return registry, err
	}
	var id *int64 // null, as what follows it, in the only row where there is no metric
	var name *string
	var stored []byte
	var oldest *int64
	read, err := pgx.ForEachRow(rows, []any{&registry.Version, &registry.Open, &id, &name, &stored, &oldest}, func() error {
		if id == nil {
			return nil
		}
		definition, err := metric.DecodeDefinition(stored)
		if err != nil {
			return fmt.Errorf("metric %s: %w", *name, err)
		}
		registry.Metrics = append(registry.Metrics, aggregate.Metric{ID: *id, Definition: definition, OldestGeneration: *oldest})
		return nil
	})
	if err == nil && read.RowsAffected() == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return registry, err
	}
	registry.Rebuilding, err = s.rebuilding(ctx, registry.Metrics)
	return registry, err
}

// rebuilding reads which windows of metrics are computed again. It must be read after the version, which changes with it.
func (s *Store) rebuilding(ctx context.Context, metrics []aggregate.Metric) (map[bucket.Key]int64, error) {
	ids := make([]int64, len(metrics))
	for i, m := range metrics {
		ids[i] = m.ID
	}
	rows, err := s.pool.Query(ctx, readRebuilding, ids)
	if err != nil {
		return nil, err
	}
	generations := make(map[bucket.Key]int64)
	var window bucket.Key
	var generation int64
	_, err = pgx.ForEachRow(rows, []any{&window.Metric, text{&window.Size}, &window.Start, &window.Chain, &generation}, func() error {
		window.Start = window.Start.UTC()
		generations[window] = generation
		return nil
	})
	return generations, err
}

// Metrics lists the registry, by name.
func (s *Store) Metrics(ctx context.Context) ([]RegisteredMetric, error) {
	metrics, err := readMetrics(ctx, s.pool, nil, legible)
	if err != nil {
		return nil, fmt.Errorf("list metrics: %w", err)
	}
	return metrics, nil
}

// Metric reads one metric. It fails with [ErrUnknownMetric].
func (s *Store) Metric(ctx context.Context, name string) (RegisteredMetric, error) {
	metrics, err := readMetrics(ctx, s.pool, []string{name}, legible)
	if err != nil {
		return RegisteredMetric{}, fmt.Errorf("read metric %s: %w", name, err)
	}
	if len(metrics) == 0 {
		return RegisteredMetric{}, fmt.Errorf("%w: %s", ErrUnknownMetric, name)
	}
	return metrics[0], nil
}

// Functions lists the metric types of which there are metrics, or of which something waits to be resolved: one without metrics follows
// the streams too.
func (s *Store) Functions(ctx context.Context) ([]string, error) {
	const list = `select type from metric_registry where deleted_at is null
		union select function from pending_reverts
		union select function from pending_ranges order by 1`
	rows, err := s.pool.Query(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	return names, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error)
}

// legible reads what this version knows of a definition, which is enough to show it.
func legible(stored []byte) (d metric.Definition, err error) {
	err = json.Unmarshal(stored, &d)
	return d, err
}

// readMetrics reads those with the names, or all where names is nil.
func readMetrics(
	ctx context.Context, db querier, names []string, decode func([]byte) (metric.Definition, error),
) ([]RegisteredMetric, error) {
	rows, err := db.Query(ctx, listMetrics, names)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (m RegisteredMetric, err error) {
		var name string
		var stored []byte
		if err := row.Scan(&m.ID, &name, &m.Version, &stored, &m.CreatedAt, &m.UpdatedAt, &m.PausedAt, &m.Since); err != nil {
			return m, err
		}
		if m.Definition, err = decode(stored); err != nil {
			return m, fmt.Errorf("metric %s: %w", name, err)
		}
		return m, nil
	})
}
