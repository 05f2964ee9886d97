package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"

	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

var (
	//go:embed sql/lock_watermark.sql
	lockWatermark string
	//go:embed sql/move_watermark.sql
	moveWatermark string
)

// rollbackTimeout is how long an abandoned transaction may take to end. After it the connection is closed, which ends the
// transaction too.
const rollbackTimeout = 2 * time.Second

// turn is a transaction under the lock of a function's row of a stream: what it reads after the lock, in the same round trip,
// and what it decides then.
type turn struct {
	function, stream string
	pairs            []delivery.Pair
	read             func(*pgx.Batch) // nil: nothing else
	decide           func(locked) (progress, error)
}

// locked is what a turn has read.
type locked struct {
	mark    watermark.Mark
	version int64
	low     time.Time // the chain time up to which everything has come; zero: not known
	highest time.Time // that low has ever had
	owners  delivery.Owners
}

// progress is what a turn leaves behind. The zero value changes nothing.
type progress struct {
	mark    watermark.Mark // zero: nothing is to be stored
	low     time.Time
	claims  []delivery.Pair
	letters []delivery.DeadLetter
	copies  func(context.Context, *pgx.Conn) error // nil: nothing is to be copied, before all else
	write   func(*pgx.Batch)
	rows    int // that are written, beside dead letters
}

// take runs a turn. It fails with [pgx.ErrNoRows] where there is no row to lock. What decide returns as an error is returned as
// it is. After an error nothing is stored, unless the connection broke while the commit was under way: then only the watermark
// tells.
func (s *Store) take(ctx context.Context, t turn) (err error) {
	ctx, traced := startSpan(ctx, "commit", t.function, t.stream)
	defer func() { traced.Done(err) }()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release() // closes a connection whose transaction is open

	now, err := s.begin(ctx, conn, t)
	if err != nil {
		return s.abandon(ctx, conn, err)
	}
	done, err := t.decide(now)
	if err != nil || done.mark.ID.IsZero() {
		s.rollback(ctx, conn)
		return err
	}
	if err := s.finish(ctx, conn, t, done); err != nil {
		return s.abandon(ctx, conn, err)
	}
	traced.Set(func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("chainmetrics.watermark", done.mark.ID.String()), attribute.Int("chainmetrics.rows", done.rows+len(done.letters)),
		}
	})
	s.owners.learn(now.owners, t.stream, done.claims)
	return nil
}

// begin is the first round trip.
func (s *Store) begin(ctx context.Context, conn *pgxpool.Conn, t turn) (now locked, err error) {
	var id, hash string
	var low, highest pgtype.Timestamptz
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(lockWatermark, t.function, t.stream).QueryRow(func(row pgx.Row) error {
		return row.Scan(&id, &hash, &now.version, &low, &highest)
	})
	now.owners = s.owners.queue(batch, t.pairs)
	if t.read != nil {
		t.read(batch)
	}
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return locked{}, fmt.Errorf("lock and read: %w", err)
	}
	now.mark, err = newMark(id, hash, nil)
	now.low, now.highest = finiteTime(low), finiteTime(highest)
	return now, err
}

// lockMark locks the row of a function and stream in another transaction, and gives what it holds.
func lockMark(ctx context.Context, tx pgx.Tx, function, stream string) (now locked, err error) {
	var id, hash string
	var low, highest pgtype.Timestamptz
	if err := tx.QueryRow(ctx, lockWatermark, function, stream).Scan(&id, &hash, &now.version, &low, &highest); err != nil {
		return now, fmt.Errorf("lock watermark of %s on %s: %w", function, stream, err)
	}
	now.mark, err = newMark(id, hash, nil)
	now.low, now.highest = finiteTime(low), finiteTime(highest)
	return now, err
}

// lowWaterOf gives a chain time as its column holds it: minus infinity for the zero time, where it is not known.
func lowWaterOf(t time.Time) pgtype.Timestamptz {
	if t.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: t, Valid: true}
}

// finiteTime is the reverse of lowWaterOf.
func finiteTime(t pgtype.Timestamptz) time.Time {
	if !t.Valid || t.InfinityModifier != pgtype.Finite {
		return time.Time{}
	}
	return t.Time.UTC()
}

// finish is the last round trip.
func (s *Store) finish(ctx context.Context, conn *pgxpool.Conn, t turn, done progress) error {
	if done.copies != nil {
		if err := done.copies(ctx, conn.Conn()); err != nil {
			return err
		}
	}
	batch := &pgx.Batch{}
	queueClaims(batch, t.stream, done.claims)
	done.write(batch)
	queueDeadLetters(batch, t.stream, done.letters)
	batch.Queue(moveWatermark, t.function, t.stream, done.mark.ID.String(), done.mark.Hash, lowWaterOf(done.low))
	batch.Queue("commit")
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// abandon ends the transaction after an error of the store, which it gives.
func (s *Store) abandon(ctx context.Context, conn *pgxpool.Conn, cause error) error {
	s.rollback(ctx, conn)
	if hasCode(cause, undefinedTable) || hasCode(cause, checkViolation) || hasCode(cause, uniqueViolation) {
		s.partitions.forget() // somebody may have removed or replaced one
		s.months.forget()
	}
	return cause
}

// rollback ends the transaction, so that the connection can be used again. Where that fails the connection is closed.
func (s *Store) rollback(ctx context.Context, conn *pgxpool.Conn) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if _, err := conn.Exec(ending, "rollback"); err != nil {
		_ = conn.Conn().Close(ending)
	}
}
