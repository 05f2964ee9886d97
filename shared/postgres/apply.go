package postgres

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/lock_functions.sql
	lockFunctions string
	//go:embed sql/insert_metric.sql
	insertMetric string
	//go:embed sql/update_metric.sql
	updateMetric string
	//go:embed sql/restart_metric.sql
	restartMetric string
	//go:embed sql/insert_history.sql
	insertHistory string
	//go:embed sql/find_dropped.sql
	findDropped string
	//go:embed sql/delete_dropped.sql
	deleteDropped string
)

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
		return events.MetricCreated
	case Updated:
		return events.MetricUpdated
	case Unchanged:
		return "unchanged"
	}
	return fmt.Sprintf("Change(%d)", uint8(c))
}

// AppliedMetric is the outcome for one definition.
type AppliedMetric struct {
	Name   string
	Change Change
	// Since has, for each stream that was begun before the metric or its calculation, the entry after which the metric counts.
	// What was before is computed from the archive.
	Since map[string]events.ID
}

// application is a definition on its way into the registry.
type application struct {
	definition metric.Definition
	id         int64             // once it is written
	stored     *RegisteredMetric // nil: new
	change     Change
	restarts   bool // has another calculation than what is stored
	lacks      bool // has windows that were neither counted nor requested
}

// ApplyMetrics brings definitions, which must be valid, into the registry: all of them or, where one fails, none. From
// then on every function evaluates under the new ones. A metric that is new, or has a new calculation, counts a stream
// from its watermark; what was before is requested from the archive when it has come as far, by [Store.RequestHistory]. Buckets of
// another calculation are shown until then. Those of sizes and chains that a metric no longer has are deleted; cut short, that is
// gone on with when the metric is applied once more. Where checks are others now, runs of the windows that fail one are requested.
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
		if err := checkDependencies(ctx, tx, definitions); err != nil {
			return err
		}
		if err := register(ctx, tx, applications); err != nil {
			return err
		}
		applied, err = outcome(ctx, tx, applications)
		return err
	})
	if err == nil {
		err = s.deleteDropped(ctx, names)
	}
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
		a := application{definition: d, change: Created, lacks: true}
		if at := slices.IndexFunc(stored, func(m RegisteredMetric) bool { return m.Definition.Name == d.Name }); at >= 0 {
			a.stored, a.change = &stored[at], Updated
			before := stored[at].Definition
			a.restarts = before.Type != d.Type || !before.SameCalculation(d)
			a.lacks = a.restarts || !before.Covers(d)
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
	var functions, dependencies []string
	for _, a := range changed {
		functions = append(functions, a.definition.Type)
		if a.stored != nil {
			functions = append(functions, a.stored.Definition.Type)
		}
		if derived := a.definition.Calculation.Derived; derived != nil {
			dependencies = append(dependencies, derived.Dependencies...)
		}
	}
	if _, err := tx.Exec(ctx, lockFunctions, functions); err != nil {
		return err
	}
	// Windows of these that become final meanwhile are seen below, or see what depends on them.
	const lock = "select from metric_registry where name = any ($1) and deleted_at is null order by metric_id for no key update"
	if _, err := tx.Exec(ctx, lock, dependencies); err != nil {
		return err
	}
	for i := range changed {
		if err := changed[i].write(ctx, tx); err != nil {
			return fmt.Errorf("%s: %w", changed[i].definition.Name, err)
		}
	}
	for _, a := range changed {
		if err := a.requestDerived(ctx, tx); err != nil {
			return fmt.Errorf("%s: %w", a.definition.Name, err)
		}
		if err := a.requestChecked(ctx, tx); err != nil {
			return fmt.Errorf("%s: %w", a.definition.Name, err)
		}
	}
	names, changes := make([]string, len(changed)), make([]string, len(changed))
	for i, a := range changed {
		names[i], changes[i] = a.definition.Name, a.change.String()
	}
	if err := announce(ctx, tx, names, changes); err != nil {
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

// checkDependencies fails where a metric could not be derived any more, or never could, once some definitions are stored.
func checkDependencies(ctx context.Context, tx pgx.Tx, definitions []metric.Definition) error {
	stored, err := readMetrics(ctx, tx, nil, legible)
	if err != nil {
		return err
	}
	all := slices.Clone(definitions)
	names := namesOf(definitions)
	for _, m := range stored {
		if !slices.Contains(names, m.Definition.Name) {
			all = append(all, m.Definition)
		}
	}
	return metric.CheckDependencies(all)
}

// requestDerived has what a derived metric lacks requested, and takes finality from what is derived from one that calculates otherwise.
func (a application) requestDerived(ctx context.Context, tx pgx.Tx) error {
	if a.restarts {
		if _, err := tx.Exec(ctx, "select open_dependents($1)", a.id); err != nil {
			return err
		}
	}
	if a.definition.Calculation.Derived == nil || !a.lacks {
		return nil
	}
	const begin = `insert into derived_history (metric_id, bucket_size, chain)
		select $1, s.size, c.chain from unnest($2::text[]) as s (size) cross join unnest($3::text[]) as c (chain)
		on conflict (metric_id, bucket_size, chain) do update set requested_until = '-infinity'`
	_, err := tx.Exec(ctx, begin, a.id, bucket.Names(a.definition.BucketSizes), a.definition.Chains)
	return err
}

// requestHistory has what was before a metric requested from the archive, where it is made of events.
func (a application) requestHistory(ctx context.Context, tx pgx.Tx) error {
	if len(a.definition.Calculation.EventTypes()) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, insertHistory, a.id, a.definition.Type)
	return err
}

func (a *application) write(ctx context.Context, tx pgx.Tx) error {
	d := a.definition
	if a.stored == nil {
		if err := tx.QueryRow(ctx, insertMetric, d.Name, d.Type, d).Scan(&a.id); err != nil {
			return err
		}
		return a.requestHistory(ctx, tx)
	}
	a.id = a.stored.ID
	id := a.id
	if _, err := tx.Exec(ctx, updateMetric, id, d.Type, d); err != nil {
		return err
	}
	if a.restarts {
		if _, err := tx.Exec(ctx, restartMetric, id); err != nil {
			return err
		}
	}
	// Without its schedule, a bucket size of a chain is one of which nothing was requested.
	const forget = "delete from schedules where metric_id = $1 and ($2 or not (bucket_size = any ($3) and chain = any ($4)))"
	again := a.restarts || !a.stored.Definition.SameStart(d.Schedule)
	if _, err := tx.Exec(ctx, forget, id, again, bucket.Names(d.BucketSizes), d.Chains); err != nil {
		return err
	}
	const forgetDerived = "delete from derived_history where metric_id = $1 and not (bucket_size = any ($2) and chain = any ($3))"
	if _, err := tx.Exec(ctx, forgetDerived, id, bucket.Names(d.BucketSizes), d.Chains); err != nil || !a.lacks {
		return err
	}
	// What is new may have been there once, and what is left of it is nothing that was ever computed.
	const reopen = `update windows set final = false, cut = null, finalized_at = null
		where metric_id = $1 and not (bucket_size = any ($2) and chain = any ($3))
			and (final or cut is not null or finalized_at is not null)`
	before := a.stored.Definition
	if _, err := tx.Exec(ctx, reopen, id, bucket.Names(before.BucketSizes), before.Chains); err != nil {
		return err
	}
	return a.requestHistory(ctx, tx)
}

// deleteDropped deletes, in steps, what is stored of bucket sizes and chains that metrics had in an earlier version.
func (s *Store) deleteDropped(ctx context.Context, names []string) error {
	rows, err := s.pool.Query(ctx, findDropped, names)
	if err != nil {
		return fmt.Errorf("find dropped buckets: %w", err)
	}
	type dropped struct {
		Metric        int64
		Sizes, Chains []string
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[dropped])
	if err != nil {
		return fmt.Errorf("find dropped buckets: %w", err)
	}
	if len(all) == 0 {
		return nil
	}
	partitions, err := s.listPartitions(ctx)
	if err != nil {
		return err
	}
	for _, d := range all {
		for _, table := range append([]string{"windows", "bucket_revisions", "check_failures"}, partitions...) {
			if _, err := s.deleteRows(ctx, deleteDropped, table, d.Metric, d.Sizes, d.Chains); err != nil {
				return err
			}
		}
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
