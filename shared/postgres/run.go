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

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/archive"
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
	//go:embed sql/end_runs.sql
	endRuns string
	//go:embed sql/succeed_runs.sql
	succeedRuns string
	//go:embed sql/request_runs.sql
	requestRuns string
	//go:embed sql/find_due.sql
	findDue string
	//go:embed sql/find_reverted.sql
	findReverted string
	//go:embed sql/open_windows.sql
	openWindows string
)

var _ runner.FunctionStore = (*Store)(nil)

// dueAgain has the windows from one on requested once more when they are due.
const dueAgain = `update schedules set requested_until = least(requested_until, $4)
	where metric_id = $1 and bucket_size = $2 and chain = $3`

// requestedAtOnce is how many runs of a metric one transaction requests.
const requestedAtOnce = 10_000

// due is a metric on a chain whose windows may be due.
type due struct {
	metric     int64
	version    int // of the definition
	definition metric.Definition
	created    time.Time // the metric
	chain      string
	until      time.Time // before this start they were requested; zero: none was
	low, floor time.Time // zero: minus infinity
}

// isPresent tells whether the definition is still that of the metric, which it remains until the transaction ends.
func (d due) isPresent(ctx context.Context, tx pgx.Tx) (bool, error) {
	const read = "select from metric_registry where metric_id = $1 and version = $2 and deleted_at is null for share"
	tag, err := tx.Exec(ctx, read, d.metric, d.version)
	return tag.RowsAffected() > 0, err
}

// earliest gives the time before which no window of a size begins that is computed.
func (d due) earliest(size bucket.Size) time.Time {
	from := d.floor
	if start := d.definition.StartDate; start.After(from) {
		from = start
	}
	if now := size.Window(d.created).Start; !d.definition.CatchesUp() && now.After(from) {
		from = now
	}
	return from
}

// open gives the start of the first window of a size, from another on, that is not due, or of the last one that it looks at.
func (d due) open(size bucket.Size, from, now time.Time, most int) (time.Time, error) {
	low := d.low.Add(-d.definition.Delay())
	if low.After(now) {
		low = now
	}
	w := size.Window(from)
	for n := 0; n < most && !w.End.After(low); n, w = n+1, size.Window(w.End) {
		at, err := d.definition.DueAt(size, w.End)
		if err != nil || at.After(now) {
			return w.Start, err
		}
	}
	return w.Start, nil
}

// RequestDue queues runs of the windows that have ended and up to whose end everything has come.
func (s *Store) RequestDue(ctx context.Context, function string, size bucket.Size, now time.Time) (requested int64, err error) {
	rows, err := s.pool.Query(ctx, findDue, function, size.String())
	if err != nil {
		return 0, fmt.Errorf("find what is due: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d due, err error) {
		var stored []byte
		var until, low, floor pgtype.Timestamptz
		if err := row.Scan(&d.metric, &d.version, &stored, &d.created, &d.chain, &until, &low, &floor); err != nil {
			return d, err
		}
		d.until, d.low, d.floor = finiteTime(until), finiteTime(low), finiteTime(floor)
		d.definition, err = metric.DecodeDefinition(stored)
		return d, err
	})
	if err != nil {
		return 0, fmt.Errorf("find what is due: %w", err)
	}
	for _, d := range all {
		n, err := s.requestDue(ctx, d, size, now)
		if err != nil {
			return requested, fmt.Errorf("request %s runs of %s: %w", size, d.definition.Name, err)
		}
		requested += n
	}
	return requested, nil
}

func (s *Store) requestDue(ctx context.Context, d due, size bucket.Size, now time.Time) (requested int64, err error) {
	from := d.until
	if from.IsZero() {
		var first pgtype.Timestamptz
		const earliest = `select min(event_time) from chain_events
			where chain = $1 and event_type = $2 and event_time >= '2009-01-01Z'`
		err := s.pool.QueryRow(ctx, earliest, d.chain, d.definition.Calculation.Stream.EventType).Scan(&first)
		if err != nil || !first.Valid {
			return 0, err
		}
		from = firstWindow(size, first.Time.Add(-d.definition.Skew()), d.earliest(size))
	}
	until, err := d.open(size, from, now, requestedAtOnce)
	if err != nil || !until.After(from) {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if is, err := d.isPresent(ctx, tx); err != nil || !is {
			return err
		}
		const move = `insert into schedules (metric_id, bucket_size, chain, requested_until) values ($1, $2, $3, $4)
			on conflict (metric_id, bucket_size, chain) do update set requested_until = excluded.requested_until
			where schedules.requested_until = $5`
		tag, err := tx.Exec(ctx, move, d.metric, size.String(), d.chain, until, from)
		if err != nil || tag.RowsAffected() == 0 { // another was faster
			return err
		}
		tag, err = tx.Exec(ctx, requestRuns, d.metric, size.String(), d.chain, starts(size, from, until), "due")
		requested = tag.RowsAffected()
		return err
	})
	return requested, err
}

// firstWindow gives the start of the first window that is computed: the one of what happened first, or the first one that does not
// begin before the floor.
func firstWindow(size bucket.Size, first, floor time.Time) time.Time {
	if first.Before(events.Earliest) {
		first = events.Earliest
	}
	if !first.After(floor) {
		w := size.Window(floor)
		if w.Start.Before(floor) {
			return w.End
		}
		return w.Start
	}
	return size.Window(first).Start
}

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

// starts gives the starts of the windows from the one that contains a time to the last one that starts before another.
func starts(size bucket.Size, from, to time.Time) (all []time.Time) {
	for w := range size.Windows(from, to) {
		all = append(all, w.Start)
	}
	return all
}

// RequestReverted queues runs of the windows that held what was reverted, once the archive has marked it.
func (s *Store) RequestReverted(ctx context.Context, function string) error {
	type reverted struct {
		Stream, Entry string
		First, Last   *time.Time
	}
	rows, err := s.pool.Query(ctx, findReverted, function, archive.Name)
	if err != nil {
		return fmt.Errorf("find what was reverted: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[reverted])
	if err != nil {
		return fmt.Errorf("find what was reverted: %w", err)
	}
	for _, r := range all {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			const forget = "delete from pending_reverts where function = $1 and stream = $2 and entry_id = $3"
			if _, err := lockMark(ctx, tx, function, r.Stream); err != nil { // before windows, as in every commit
				return err
			}
			gone, err := tx.Exec(ctx, forget, function, r.Stream, r.Entry)
			if err != nil || gone.RowsAffected() == 0 { // another was faster
				return err
			}
			if r.First == nil || r.Last == nil {
				return nil
			}
			return requestRange(ctx, tx, function, r.Stream, *r.First, *r.Last)
		})
		if err != nil {
			return fmt.Errorf("request what %s of %s has reverted: %w", r.Entry, r.Stream, err)
		}
	}
	return nil
}

// counted is a bucket size of a metric on a chain of which a stream brings the metric's events.
type counted struct {
	metric     int64
	definition metric.Definition
	size       bucket.Size
	chain      string
}

// readCounted gives what the metrics of a function count of a stream.
func readCounted(ctx context.Context, tx pgx.Tx, function, stream string) (all []counted, err error) {
	metrics, err := readMetrics(ctx, tx, nil, metric.DecodeDefinition)
	if err != nil {
		return nil, err
	}
	for _, m := range metrics {
		if m.Definition.Type != function {
			continue
		}
		const owned = "select chain from stream_types where stream = $1 and event_type = $2 and chain = any ($3)"
		rows, err := tx.Query(ctx, owned, stream, m.Definition.Calculation.Stream.EventType, m.Definition.Chains)
		if err != nil {
			return nil, err
		}
		chains, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		for _, size := range m.Definition.BucketSizes {
			for _, chain := range chains {
				all = append(all, counted{m.ID, m.Definition, size, chain})
			}
		}
	}
	return all, nil
}

// requestRange queues runs of all windows of a function's metrics into which events of a stream between two times fall.
func requestRange(ctx context.Context, tx pgx.Tx, function, stream string, first, last time.Time) error {
	all, err := readCounted(ctx, tx, function, stream)
	if err != nil {
		return err
	}
	for _, c := range all {
		skew := c.definition.Skew()
		windows := starts(c.size, first.Add(-skew), last.Add(skew).Add(time.Microsecond))
		batch := &pgx.Batch{}
		queueAgain(batch, c.metric, c.size, c.chain, windows, events.RevisedReverted)
		// They are due once more when everything of the new branch has come.
		batch.Queue(dueAgain, c.metric, c.size.String(), c.chain, windows[0])
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
	}
	return nil
}

// queueAgain takes finality from windows, and requests runs of them, for a reason that both say.
func queueAgain(batch *pgx.Batch, metric int64, size bucket.Size, chain string, windows []time.Time, reason string) {
	batch.Queue(openWindows, metric, size.String(), chain, windows, reason)
	batch.Queue(requestRuns, metric, size.String(), chain, windows, reason)
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
		err := tx.QueryRow(ctx, findTurn, function, size.String(), queue.Metric, queue.Complexity).Scan(&span.Metric, &span.Chain)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if _, err := tx.Exec(ctx, hearRequests, size.String(), span.Metric, queue.Metric); err != nil || span.Metric == 0 {
			return err
		}
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
		var ids []int64
		for _, q := range found {
			w := size.Window(q.Start)
			alone := q.Attempt > 0 || found[0].Attempt > 0 // what has failed does not take others with it
			if len(ids) > 0 && (alone || !w.Start.Equal(span.To) || w.End.Sub(span.From) > bounds.Time) {
				break
			}
			span.To, ids, claim.Attempt = w.End, append(ids, q.Run), max(claim.Attempt, q.Attempt+1)
		}
		if err := tx.QueryRow(ctx, "select nextval('run_lease')").Scan(&span.Lease); err != nil {
			return err
		}
		claim.Span = span
		const read = "select definition from metric_registry where metric_id = $1"
		var stored []byte
		if err := tx.QueryRow(ctx, read, span.Metric).Scan(&stored); err != nil {
			return err
		}
		definition, err := legible(stored)
		if err != nil {
			return err
		}
		claim.Schedule = definition.Schedule
		_, err = tx.Exec(ctx, claimRuns, ids, span.Lease, bounds.Lease, bounds.Code)
		return err
	})
	return claim, err
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
		batch.Queue(succeedRuns, rebuild.Span.Lease, rebuild.Version, t.starts, t.observations, t.buckets, t.changes)
	}
}

// tallyColumns are tallies as arrays, one for each of their columns.
type tallyColumns struct {
	starts           []time.Time
	observations     []*int64
	buckets, changes []int64
}

func columnsOfTallies(tallies []aggregate.Tally) tallyColumns {
	n := len(tallies)
	c := tallyColumns{make([]time.Time, n), make([]*int64, n), make([]int64, n), make([]int64, n)}
	for i, t := range tallies {
		c.starts[i], c.observations[i], c.buckets[i], c.changes[i] = t.Start, t.Observations, int64(t.Buckets), int64(t.Changes)
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
	Error, CodeVersion                                *string
}

//go:embed sql/list_runs.sql
var listRuns string

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
		where chain = any ($1) and event_type = $2 and event_time >= '2009-01-01Z'`
	var from, to pgtype.Timestamptz
	err = s.pool.QueryRow(ctx, query, m.Definition.Chains, m.Definition.Calculation.Stream.EventType).Scan(&from, &to)
	if err != nil {
		return first, last, fmt.Errorf("find the events of %s: %w", m.Definition.Name, err)
	}
	if !from.Valid {
		return first, last, fmt.Errorf("%s: %w", m.Definition.Name, ErrNoEvents)
	}
	return from.Time.UTC(), to.Time.UTC(), nil
}
