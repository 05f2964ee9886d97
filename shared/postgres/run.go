package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

var (
	//go:embed sql/requeue_expired.sql
	requeueExpired string
	//go:embed sql/find_turn.sql
	findTurn string
	//go:embed sql/find_runs.sql
	findRuns string
	//go:embed sql/hear_requests.sql
	hearRequests string
	//go:embed sql/claim_runs.sql
	claimRuns string
	//go:embed sql/start_runs.sql
	startRuns string
	//go:embed sql/end_runs.sql
	endRuns string
	//go:embed sql/succeed_runs.sql
	succeedRuns string
	//go:embed sql/list_runs.sql
	listRuns string
	//go:embed sql/request_runs.sql
	requestRuns string
	//go:embed sql/open_windows.sql
	openWindows string
)

var (
	_ runner.FunctionStore = (*Store)(nil)
	_ runner.NowStore      = (*Store)(nil)
)

// requestedAtOnce is how many runs of a metric one transaction requests.
const requestedAtOnce = 10_000

// RequestRuns queues runs of the windows of a metric's size from the one that contains a time to the last one that starts before
// another, on each of its chains, because a person has asked. It gives how many; those that were queued before are not among
// them.
func (s *Store) RequestRuns(ctx context.Context, m RegisteredMetric, size bucket.Size, from, to time.Time) (requested int64, err error) {
	for _, chain := range m.Definition.Chains {
		for some := range slices.Chunk(starts(size, from, to), requestedAtOnce) {
			tag, err := s.pool.Exec(ctx, requestRuns, m.ID, size.String(), chain, some, "backfill")
			if err != nil {
				return requested, fmt.Errorf("request %s runs of %s: %w", size, m.Definition.Name, err)
			}
			requested += tag.RowsAffected()
		}
	}
	return requested, nil
}

// queueAgain takes finality from windows, and requests runs of them, for a reason that both say. Of the windows that it gives the
// transaction has still to open the dependents, of all together.
func queueAgain(batch *pgx.Batch, metric int64, size bucket.Size, chain string, windows []time.Time, reason string) []bucket.Key {
	batch.Queue(openWindows, metric, size.String(), chain, windows, reason)
	batch.Queue(requestRuns, metric, size.String(), chain, windows, reason)
	return windowsOf(metric, size, chain, windows)
}

// RequeueExpired queues runs again whose claims have run out.
func (s *Store) RequeueExpired(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, requeueExpired, metric.DefaultRetries); err != nil {
		return fmt.Errorf("queue runs again: %w", err)
	}
	return nil
}

// ClaimRuns gives consecutive windows whose turn it is.
func (s *Store) ClaimRuns(
	ctx context.Context, function string, queue runner.Queue, bounds runner.Bounds,
) (claim runner.Claim, err error) {
	size := queue.Size
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		const inTurn = "select pg_advisory_xact_lock(hashtextextended('runs of ' || $1 || ' ' || $2, 0))"
		if _, err := tx.Exec(ctx, inTurn, function, size.String()); err != nil { // what is counted next must not be claimed meanwhile
			return err
		}
		if _, err := tx.Exec(ctx, requeueExpired, metric.DefaultRetries); err != nil {
			return err
		}
		span := aggregate.Span{Size: size}
		var stored []byte
		var archiveFloor pgtype.Timestamptz
		err := tx.QueryRow(ctx, findTurn, function, size.String(), queue.Metric, queue.Complexity).
			Scan(&span.Metric, &span.Chain, &stored, &archiveFloor)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if _, err := tx.Exec(ctx, hearRequests, size.String(), span.Metric, queue.Metric); err != nil || span.Metric == 0 {
			return err
		}
		definition, err := legible(stored)
		if err != nil {
			return err
		}
		claim.Schedule = definition.Schedule
		type queued struct {
			Run     int64
			Start   time.Time
			Attempt int
		}
		rows, err := tx.Query(ctx, findRuns, span.Metric, size.String(), span.Chain, bounds.Runs)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[queued])
		if err != nil || len(found) == 0 {
			return err
		}
		span.From = found[0].Start.UTC()
		floor := finiteTime(archiveFloor)
		below := beginsBelow(definition, span.From, floor)
		var ids []int64
		for _, q := range found {
			w := size.Window(q.Start)
			// What has failed does not take others with it, nor does what is about to be skipped.
			alone := q.Attempt > 0 || found[0].Attempt > 0 || beginsBelow(definition, w.Start, floor) != below
			if len(ids) > 0 && (alone || !w.Start.Equal(span.To) || w.End.Sub(span.From) > bounds.Time) {
				break
			}
			span.To, ids, claim.Attempt = w.End, append(ids, q.Run), max(claim.Attempt, q.Attempt+1)
		}
		if err := tx.QueryRow(ctx, "select nextval('run_lease')").Scan(&span.Lease); err != nil {
			return err
		}
		claim.Span, claim.Name, claim.Runs = span, definition.Name, ids
		traceID, spanID := traceOf(ctx)
		_, err = tx.Exec(ctx, claimRuns, ids, span.Lease, bounds.Lease, bounds.Code, traceID, spanID)
		return err
	})
	return claim, err
}

// StartRuns claims the windows of a span, whatever is queued. It fails with [runner.ErrUnderWay].
func (s *Store) StartRuns(ctx context.Context, span aggregate.Span, bounds runner.Bounds) (runner.Claim, error) {
	var ids []int64
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select nextval('run_lease')").Scan(&span.Lease); err != nil {
			return err
		}
		traceID, spanID := traceOf(ctx)
		rows, err := tx.Query(ctx, startRuns, span.Metric, span.Size.String(), span.Chain, starts(span.Size, span.From, span.To),
			span.Lease, bounds.Lease, bounds.Code, traceID, spanID)
		if err == nil {
			ids, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		}
		if hasCode(err, uniqueViolation) {
			return runner.ErrUnderWay
		}
		return err
	})
	if err != nil {
		return runner.Claim{}, fmt.Errorf("start runs: %w", err)
	}
	return runner.Claim{Span: span, Runs: ids, Attempt: 1}, nil
}

// EndRuns notes why runs did not succeed.
func (s *Store) EndRuns(ctx context.Context, claim runner.Claim, end runner.End) error {
	free := 0
	if end.Free {
		free = 1
	}
	_, err := s.pool.Exec(ctx, endRuns, claim.Span.Lease, string(end.State), end.After, free, storable(end.Error))
	return err
}

// errLease says that the lease of a rebuild's runs has run out.
var errLease = fmt.Errorf("%w: its lease has run out", aggregate.ErrSuperseded)

// verifyLease fails where the runs of a rebuild are no longer the caller's.
func verifyLease(ctx context.Context, tx pgx.Tx, rebuild aggregate.Rebuild) error {
	if rebuild.Span.Lease == 0 {
		return nil
	}
	const count = "select count(*) from runs where lease = $1 and state = 'running' and lease_until > clock_timestamp()"
	var leased int
	if err := tx.QueryRow(ctx, count, rebuild.Span.Lease).Scan(&leased); err != nil {
		return err
	}
	if leased != len(rebuild.Windows) {
		return errLease
	}
	return nil
}

func queueSuccess(batch *pgx.Batch, rebuild aggregate.Rebuild, t tallyColumns) {
	if rebuild.Span.Lease != 0 {
		batch.Queue(succeedRuns, rebuild.Span.Lease, rebuild.Version, t.starts, t.observations, t.buckets, t.changes, t.refused)
	}
}

// tallyColumns are tallies as arrays, one for each of their columns.
type tallyColumns struct {
	starts                []time.Time
	observations, refused []*int64
	buckets, changes      []int64
}

func columnsOfTallies(tallies []aggregate.Tally) tallyColumns {
	n := len(tallies)
	c := tallyColumns{make([]time.Time, n), make([]*int64, n), make([]*int64, n), make([]int64, n), make([]int64, n)}
	for i, t := range tallies {
		c.starts[i], c.observations[i], c.refused[i] = t.Start, t.Observations, t.Refused
		c.buckets[i], c.changes[i] = int64(t.Buckets), int64(t.Changes)
	}
	return c
}

// RunQuery says which runs are wanted. What is empty is any.
type RunQuery struct {
	ID     int64
	Metric string
	Size   string
	State  string
	Most   int
}

// Run is a run as it is shown.
type Run struct {
	ID                                                int64
	Metric, Size, Chain                               string
	Start                                             time.Time
	Reason, State                                     string
	Attempt                                           int
	NotBefore, RequestedAt                            time.Time
	StartedAt, FinishedAt                             *time.Time
	Observations, Buckets, Changes, DefinitionVersion *int64
	Refused                                           *int64
	Error, CodeVersion, TraceID                       *string
}

// Runs lists runs, the newest first.
func (s *Store) Runs(ctx context.Context, query RunQuery) ([]Run, error) {
	rows, err := s.pool.Query(ctx, listRuns, query.Metric, query.Size, query.State, query.Most, query.ID)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	runs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Run])
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

// ErrUnknownRun says that there is no run of that number.
var ErrUnknownRun = errors.New("unknown run")

// Run reads one run. It fails with [ErrUnknownRun].
func (s *Store) Run(ctx context.Context, id int64) (Run, error) {
	runs, err := s.Runs(ctx, RunQuery{ID: id, Most: 1})
	if err == nil && len(runs) == 0 {
		err = fmt.Errorf("%w: %d", ErrUnknownRun, id)
	}
	if err != nil {
		return Run{}, err
	}
	return runs[0], nil
}

// CountRuns counts the windows of a metric's size by the state of their newest run.
func (s *Store) CountRuns(ctx context.Context, m RegisteredMetric, size bucket.Size, from, to time.Time) (map[runner.State]int64, error) {
	const count = `select state, count(*)
		from (
			select distinct on (chain, bucket_start) state from runs
			where metric_id = $1 and bucket_size = $2 and bucket_start >= $3 and bucket_start < $4
			order by chain, bucket_start, run_id desc
		) newest
		group by state`
	rows, err := s.pool.Query(ctx, count, m.ID, size.String(), size.Window(from).Start, to)
	if err != nil {
		return nil, fmt.Errorf("count runs: %w", err)
	}
	counts := make(map[runner.State]int64)
	var state runner.State
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error { counts[state] = n; return nil }); err != nil {
		return nil, fmt.Errorf("count runs: %w", err)
	}
	return counts, nil
}

// ErrNoEvents says that the archive has none of the events that a metric is made of.
var ErrNoEvents = errors.New("the archive has no events for it")

// EventTimes gives the chain times of the first and the last archived event of a metric. It fails with [ErrNoEvents].
func (s *Store) EventTimes(ctx context.Context, m RegisteredMetric) (first, last time.Time, err error) {
	const query = `select min(event_time), max(event_time) from chain_events
		where chain = any ($1) and event_type = any ($2) and event_time >= '2009-01-01Z'`
	var from, to pgtype.Timestamptz
	err = s.pool.QueryRow(ctx, query, m.Definition.Chains, m.Definition.Calculation.EventTypes()).Scan(&from, &to)
	if err != nil {
		return first, last, fmt.Errorf("find the events of %s: %w", m.Definition.Name, err)
	}
	if !from.Valid {
		return first, last, fmt.Errorf("%s: %w", m.Definition.Name, ErrNoEvents)
	}
	return from.Time.UTC(), to.Time.UTC(), nil
}
