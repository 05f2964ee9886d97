package postgres

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/lock_functions.sql
	lockFunctions string
	//go:embed sql/insert_metric.sql
	insertMetric string
	//go:embed sql/update_metric.sql
	updateMetric string
	//go:embed sql/insert_since.sql
	insertSince string
)

// ErrHasBuckets says that a metric cannot get another calculation or other bucket sizes, since its buckets come from the
// definition it has. Nothing was changed.
var ErrHasBuckets = errors.New("its buckets were made by another definition")

// Change is what applying a definition did.
type Change uint8

// The changes.
const (
	Created Change = iota + 1
	Updated
	Unchanged
)

// String gives the text form.
func (c Change) String() string {
	switch c {
	case Created:
		return "created"
	case Updated:
		return "updated"
	case Unchanged:
		return "unchanged"
	}
	return fmt.Sprintf("Change(%d)", uint8(c))
}

// AppliedMetric is the outcome for one definition.
type AppliedMetric struct {
	Name   string
	Change Change
	// Since has, for each stream that was begun before the metric, the entry after which the metric counts.
	Since map[string]events.ID
}

// application is a definition on its way into the registry.
type application struct {
	definition metric.Definition
	stored     *RegisteredMetric // nil: new
	change     Change
	restarts   bool // has a calculation under which nothing was counted yet
}

// ApplyMetrics brings definitions, which must be valid, into the registry: all of them or, where one fails, none. From
// then on every function evaluates under the new ones. A metric that is new, or has a new calculation, counts a stream
// from its watermark. It fails with [ErrHasBuckets], naming every metric concerned.
func (s *Store) ApplyMetrics(ctx context.Context, definitions []metric.Definition) ([]AppliedMetric, error) {
	names := make([]string, len(definitions))
	for i, d := range definitions {
		if slices.Contains(names[:i], d.Name) {
			return nil, fmt.Errorf("apply metrics: %s is defined twice", d.Name)
		}
		names[i] = d.Name
	}
	if _, err := s.purge(ctx); err != nil {
		return nil, fmt.Errorf("apply metrics: %w", err)
	}
	var applied []AppliedMetric
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockRegistry); err != nil {
			return err
		}
		applications, err := compare(ctx, tx, definitions)
		if err != nil {
			return err
		}
		if err := register(ctx, tx, applications); err != nil {
			return err
		}
		applied, err = outcome(ctx, tx, applications)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("apply metrics: %w", err)
	}
	return applied, nil
}

// compare finds out what each definition changes.
func compare(ctx context.Context, tx pgx.Tx, definitions []metric.Definition) ([]application, error) {
	stored, err := readMetrics(ctx, tx, namesOf(definitions), metric.DecodeDefinition)
	if err != nil {
		return nil, err
	}
	applications := make([]application, len(definitions))
	for i, d := range definitions {
		a := application{definition: d, change: Created, restarts: true}
		if at := slices.IndexFunc(stored, func(m RegisteredMetric) bool { return m.Definition.Name == d.Name }); at >= 0 {
			a.stored, a.change = &stored[at], Updated
			before := stored[at].Definition
			a.restarts = before.Type != d.Type || !before.SameCalculation(d)
			same, err := equal(before, d)
			if err != nil {
				return nil, err
			}
			if same {
				a.change = Unchanged
			}
		}
		applications[i] = a
	}
	return applications, nil
}

// register writes what has changed, under the locks of the functions concerned.
func register(ctx context.Context, tx pgx.Tx, applications []application) error {
	changed := slices.DeleteFunc(slices.Clone(applications), func(a application) bool { return a.change == Unchanged })
	if len(changed) == 0 {
		return nil
	}
	var functions []string
	for _, a := range changed {
		functions = append(functions, a.definition.Type)
		if a.stored != nil {
			functions = append(functions, a.stored.Definition.Type)
		}
	}
	if _, err := tx.Exec(ctx, lockFunctions, functions); err != nil {
		return err
	}
	var refused []error
	for _, a := range changed {
		err := a.write(ctx, tx)
		if err != nil && !errors.Is(err, ErrHasBuckets) {
			return fmt.Errorf("%s: %w", a.definition.Name, err)
		}
		refused = append(refused, err)
	}
	if err := errors.Join(refused...); err != nil {
		return err
	}
	return raiseVersions(ctx, tx, functions)
}

// raiseVersions makes the functions read the registry again. Their rows are locked.
func raiseVersions(ctx context.Context, tx pgx.Tx, functions []string) error {
	const raise = "update stream_watermarks set version = nextval('registry_version') where function = any ($1)"
	_, err := tx.Exec(ctx, raise, functions)
	return err
}

func (a application) write(ctx context.Context, tx pgx.Tx) error {
	d := a.definition
	var id int64
	if a.stored == nil {
		if err := tx.QueryRow(ctx, insertMetric, d.Name, d.Type, d).Scan(&id); err != nil {
			return err
		}
	} else {
		id = a.stored.ID
		if a.restarts {
			if err := refuseBuckets(ctx, tx, id, d.Name); err != nil {
				return err
			}
			for _, table := range []string{"metric_since", "schedules", "windows", "runs"} { // all of it under the old calculation
				if _, err := tx.Exec(ctx, "delete from "+table+" where metric_id = $1", id); err != nil {
					return err
				}
			}
		}
		if _, err := tx.Exec(ctx, updateMetric, id, d.Type, d); err != nil {
			return err
		}
	}
	if !a.restarts {
		return nil
	}
	_, err := tx.Exec(ctx, insertSince, id, d.Type)
	return err
}

func refuseBuckets(ctx context.Context, tx pgx.Tx, id int64, name string) error {
	var has bool
	err := tx.QueryRow(ctx, "select exists (select from metrics_data where metric_id = $1)", id).Scan(&has)
	if err != nil {
		return err
	}
	if has {
		return fmt.Errorf("%s: %w", name, ErrHasBuckets)
	}
	return nil
}

// outcome reads from which entries the metrics count.
func outcome(ctx context.Context, tx pgx.Tx, applications []application) ([]AppliedMetric, error) {
	definitions := make([]metric.Definition, len(applications))
	for i, a := range applications {
		definitions[i] = a.definition
	}
	stored, err := readMetrics(ctx, tx, namesOf(definitions), legible)
	if err != nil {
		return nil, err
	}
	since := make(map[string]map[string]events.ID, len(stored))
	for _, m := range stored {
		since[m.Definition.Name] = m.Since
	}
	applied := make([]AppliedMetric, len(applications))
	for i, a := range applications {
		name := a.definition.Name
		applied[i] = AppliedMetric{Name: name, Change: a.change, Since: since[name]}
	}
	return applied, nil
}

func namesOf(definitions []metric.Definition) []string {
	names := make([]string, len(definitions))
	for i, d := range definitions {
		names[i] = d.Name
	}
	return names
}

// equal compares definitions by the form in which the registry holds them.
func equal(a, b metric.Definition) (bool, error) {
	left, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	right, err := json.Marshal(b)
	return bytes.Equal(left, right), err
}
