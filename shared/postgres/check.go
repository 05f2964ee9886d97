package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/find_closing.sql
	findClosing string
	//go:embed sql/read_checked.sql
	readChecked string
	//go:embed sql/record_checks.sql
	recordChecks string
	//go:embed sql/request_next.sql
	requestNext string
	//go:embed sql/request_following.sql
	requestFollowing string
	//go:embed sql/request_failed.sql
	requestFailed string
	//go:embed sql/list_check_failures.sql
	listCheckFailures string
)

// closing gives the windows of a rebuild that become final as far as their checks are concerned, and those that a check keeps from it.
// What they fail is recorded. Their buckets have been stored.
func closing(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild, failures aggregate.Failures) (final, blocked []time.Time, err error) {
	span := rebuild.Span
	final, blocked = []time.Time{}, []time.Time{} // nil would be null
	whole := append([]time.Time{}, starts(span.Size, span.From, firstOpen(rebuild))...)
	if failures == nil {
		return whole, blocked, recordFailures(ctx, tx, rebuild, whole, failureColumns{})
	}
	rows, err := tx.Query(ctx, findClosing, span.Metric, span.Size.String(), span.Chain, whole)
	if err != nil {
		return nil, nil, err
	}
	checked, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, nil, err
	}
	var columns failureColumns
	for _, start := range checked {
		failed, err := checkWindow(ctx, tx, rebuild, start, failures)
		if err != nil {
			return nil, nil, fmt.Errorf("check window %s: %w", start.UTC().Format(time.RFC3339), err)
		}
		columns.add(start, failed)
		if slices.ContainsFunc(failed, func(f metric.CheckFailure) bool { return f.Check.Severity == events.SeverityBlock }) {
			blocked = append(blocked, start)
		} else {
			final = append(final, start)
		}
	}
	return final, blocked, recordFailures(ctx, tx, rebuild, checked, columns)
}

// recordFailures records what windows fail. There is nothing else that they do.
func recordFailures(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild, windows []time.Time, c failureColumns) error {
	span := rebuild.Span
	_, err := tx.Exec(ctx, recordChecks, span.Metric, span.Size.String(), span.Chain, windows, c.starts, c.names, c.severities, c.messages,
		span.Lease)
	return err
}

// failureColumns are what windows fail, column by column.
type failureColumns struct {
	starts                      []time.Time
	names, severities, messages []string
}

func (c *failureColumns) add(start time.Time, failed []metric.CheckFailure) {
	for _, f := range failed {
		c.starts, c.names = append(c.starts, start), append(c.names, f.Check.Name())
		c.severities, c.messages = append(c.severities, f.Check.Severity), append(c.messages, f.Message)
	}
}

// checkWindow gives what the buckets of a window fail. They are read one after the other, never all at once.
func checkWindow(
	ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild, start time.Time, failures aggregate.Failures,
) ([]metric.CheckFailure, error) {
	span := rebuild.Span
	before := span.Size.Window(start.Add(-time.Microsecond)).Start
	rows, err := tx.Query(ctx, readChecked, span.Metric, span.Size.String(), span.Chain, start, before, rebuild.OldestGeneration)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	failed := failures(func(yield func(metric.CheckedBucket) bool) {
		for rows.Next() {
			var b metric.CheckedBucket
			if b, err = scanChecked(rows); err != nil || !yield(b) {
				return
			}
		}
	})
	rows.Close()
	if err == nil {
		err = rows.Err()
	}
	return failed, err
}

func scanChecked(row pgx.Row) (b metric.CheckedBucket, err error) {
	var previous *string
	if err := row.Scan(&b.Dimensions, text{&b.Value}, &previous); err != nil || previous == nil {
		return b, err
	}
	n, err := decimal.Parse(*previous)
	b.Previous = &n
	return b, err
}

// queueNext has the window after a rebuild checked once more, if it fails a check, where the last window of the rebuild has changed.
func queueNext(batch *pgx.Batch, rebuild aggregate.Rebuild, t tallyColumns) {
	if len(rebuild.Definition.Checks) == 0 {
		return
	}
	span := rebuild.Span
	last := span.Size.Window(span.To.Add(-time.Microsecond)).Start
	changes := int64(0)
	if at := slices.IndexFunc(t.starts, last.Equal); at >= 0 {
		changes = t.changes[at]
	}
	batch.Queue(requestNext, span.Metric, span.Size.String(), span.Chain, last, span.To, span.Lease, changes)
}

// requestFollowingChecked has the windows after some that a rebuild changes checked once more, if they fail a check, unless the rebuild
// itself does that when it is finished: it may never be.
func requestFollowingChecked(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild, changed []bucket.Key) error {
	span := rebuild.Span
	if len(rebuild.Definition.Checks) == 0 || len(changed) == 0 {
		return nil
	}
	following := make([]time.Time, len(changed))
	for i, window := range changed {
		following[i] = span.Size.Window(window.Start).End
	}
	_, err := tx.Exec(ctx, requestFollowing, span.Metric, span.Size.String(), span.Chain, following)
	return err
}

// requestChecked has windows that fail a check computed again where the checks are others now, and forgets what they failed that the
// definition no longer has.
func (a application) requestChecked(ctx context.Context, tx pgx.Tx) error {
	if a.stored == nil || slices.Equal(a.stored.Definition.Checks, a.definition.Checks) {
		return nil
	}
	if _, err := tx.Exec(ctx, requestFailed, a.id); err != nil {
		return err
	}
	names := make([]string, len(a.definition.Checks))
	for i, check := range a.definition.Checks {
		names[i] = check.Name()
	}
	_, err := tx.Exec(ctx, "delete from check_failures where metric_id = $1 and check_name <> all ($2)", a.id, names)
	return err
}

// CheckFailureQuery says which failures are wanted. What is empty is any.
type CheckFailureQuery struct {
	Metric, Size, Severity string
	Most                   int
}

// CheckFailure is a check that a window fails, as of its last computation after everything had come to it.
type CheckFailure struct {
	Metric, Size string
	Start        time.Time
	Chain        string
	Check        string // its name
	Severity     string
	Message      string
	Run          *int64 // that has found it
	At           time.Time
}

// CheckFailures lists the checks that windows fail, the newest first.
func (s *Store) CheckFailures(ctx context.Context, query CheckFailureQuery) ([]CheckFailure, error) {
	rows, err := s.pool.Query(ctx, listCheckFailures, query.Metric, query.Size, query.Severity, query.Most)
	if err != nil {
		return nil, fmt.Errorf("list failed checks: %w", err)
	}
	failures, err := pgx.CollectRows(rows, pgx.RowToStructByPos[CheckFailure])
	if err != nil {
		return nil, fmt.Errorf("list failed checks: %w", err)
	}
	return failures, nil
}
