package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

//go:embed sql/lock_watermark.sql
var lockWatermark string

//go:embed sql/read_states.sql
var readStates string

//go:embed sql/read_sets.sql
var readSets string

// rollbackTimeout is how long an abandoned transaction may take to end. After it the connection is closed, which ends the
// transaction too.
const rollbackTimeout = 2 * time.Second

// Commit runs decide in a transaction of two round trips: the first takes the lock of (function, stream) and reads, the
// second writes and commits. Partitions, where they are new, are made before it. What decide returns as an
// error is returned as it is. After an error nothing is stored, unless the connection broke while the commit was under
// way: then only the watermark tells.
func (s *Store) Commit(
	ctx context.Context, request aggregate.CommitRequest, decide func(aggregate.Current) (aggregate.Effects, error),
) error {
	groups := byPartition(request.Keys)
	if err := s.makePartitions(ctx, groups); err != nil {
		return commitError(request, err)
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return commitError(request, fmt.Errorf("connect: %w", err))
	}
	defer conn.Release() // closes a connection whose transaction is open

	current, err := s.begin(ctx, conn, request, groups)
	if errors.Is(err, pgx.ErrNoRows) {
		s.rollback(ctx, conn)
		return aggregate.ErrStale
	}
	if err != nil {
		return s.abandon(ctx, conn, request, err)
	}
	effects, err := decide(current)
	if err != nil || effects.Mark.ID.IsZero() {
		s.rollback(ctx, conn)
		return err
	}
	if err := s.store(ctx, conn, request, effects); err != nil {
		return s.abandon(ctx, conn, request, err)
	}
	s.owners.learn(current.Owners, request.Stream, effects.Claims)
	return nil
}

// begin is the first round trip.
func (s *Store) begin(
	ctx context.Context, conn *pgxpool.Conn, request aggregate.CommitRequest, groups map[partition][]bucket.Key,
) (aggregate.Current, error) {
	current := aggregate.Current{States: make(map[bucket.Key][]byte), Sets: make(map[bucket.Key]aggregate.Sets)}
	var id, hash string
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(lockWatermark, request.Function, request.Stream).QueryRow(func(row pgx.Row) error {
		return row.Scan(&id, &hash, &current.Version)
	})
	current.Owners = s.owners.queue(batch, request)
	for p, keys := range groups {
		queueStates(batch, p, keys, current.States)
	}
	for p, windows := range byPartition(request.Windows) {
		queueSets(batch, p, windows, current.Sets)
	}
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return aggregate.Current{}, fmt.Errorf("lock and read: %w", err)
	}
	mark, err := newMark(id, hash, nil)
	current.Mark = mark
	return current, err
}

func byPartition(keys []bucket.Key) map[partition][]bucket.Key {
	groups := make(map[partition][]bucket.Key)
	for _, key := range keys {
		p := partitionOf(key.Size, key.Start)
		groups[p] = append(groups[p], key)
	}
	return groups
}

// queueStates reads the states of those keys that are stored. All keys are of one partition.
func queueStates(batch *pgx.Batch, p partition, keys []bucket.Key, states map[bucket.Key][]byte) {
	c := columnsOf(keys)
	queued := batch.Queue(p.in(readStates), p.size.String(), c.metrics, c.starts, c.chains, c.dimensions)
	queued.Query(func(rows pgx.Rows) error {
		var place int
		var state []byte
		_, err := pgx.ForEachRow(rows, []any{&place, &state}, func() error {
			states[keys[place-1]] = state
			return nil
		})
		return err
	})
}

// queueSets reads how many buckets each of the windows holds. All are of one partition.
func queueSets(batch *pgx.Batch, p partition, windows []bucket.Key, sets map[bucket.Key]aggregate.Sets) {
	c := columnsOf(windows)
	queued := batch.Queue(p.in(readSets), p.size.String(), c.metrics, c.starts, c.chains)
	queued.Query(func(rows pgx.Rows) error {
		var place int
		var read aggregate.Sets
		_, err := pgx.ForEachRow(rows, []any{&place, &read.Count, &read.Forgot}, func() error {
			sets[windows[place-1]] = read
			return nil
		})
		return err
	})
}

// store is the second round trip.
func (s *Store) store(
	ctx context.Context, conn *pgxpool.Conn, request aggregate.CommitRequest, effects aggregate.Effects,
) error {
	batch := &pgx.Batch{}
	queueClaims(batch, request.Stream, effects.Claims)
	queueBuckets(batch, effects.Buckets)
	queueWindows(batch, effects.Sets)
	queueDeadLetters(batch, request.Stream, effects.DeadLetters)
	queueMetricErrors(batch, request.Stream, effects.MetricErrors)
	queueReverts(batch, request.Function, request.Stream, effects.Reverts)
	batch.Queue(moveWatermark, request.Function, request.Stream, effects.Mark.ID.String(), effects.Mark.Hash)
	batch.Queue("commit")
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// abandon ends the transaction after an error of the store.
func (s *Store) abandon(ctx context.Context, conn *pgxpool.Conn, request aggregate.CommitRequest, cause error) error {
	s.rollback(ctx, conn)
	if hasCode(cause, undefinedTable) || hasCode(cause, checkViolation) || hasCode(cause, uniqueViolation) {
		s.partitions.forget() // somebody may have removed or replaced one
	}
	return commitError(request, cause)
}

// rollback ends the transaction, so that the connection can be used again. Where that fails the connection is closed.
func (s *Store) rollback(ctx context.Context, conn *pgxpool.Conn) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if _, err := conn.Exec(ending, "rollback"); err != nil {
		_ = conn.Conn().Close(ending)
	}
}

func commitError(request aggregate.CommitRequest, err error) error {
	return fmt.Errorf("commit %s on %s: %w", request.Function, request.Stream, err)
}
