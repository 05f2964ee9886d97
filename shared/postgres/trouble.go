package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

var (
	//go:embed sql/list_metric_errors.sql
	listMetricErrors string
	//go:embed sql/list_reverts.sql
	listReverts string
	//go:embed sql/list_holes.sql
	listHoles string
	//go:embed sql/count_missing_blocks.sql
	countMissingBlocks string
	//go:embed sql/list_failed_runs.sql
	listFailedRuns string
	//go:embed sql/list_blocked.sql
	listBlocked string
	//go:embed sql/count_notices.sql
	countNotices string
	//go:embed sql/count_notifications.sql
	countNotifications string
)

// Troubles is what a person should look at.
type Troubles struct {
	DeadLetters    int64            // entries that could not be read
	DeadLetterAt   *time.Time       // when the newest of them was recorded; nil: there is none
	MetricErrors   []MetricTrouble  // by metric, stream, reason
	PendingReverts []FunctionRevert // by stream, function, time
	Holes          []AcceptedHole   // by stream, function, time
	MissingBlocks  []MissingBlocks  // by stream, chain
	FailedRuns     []FailedRuns     // by metric, bucket size
	Blocked        []BlockedWindows // by metric, bucket size
	Notices        NoticeTrouble
	Notifications  NotificationTrouble
}

// MetricTrouble counts what a metric could not count of a stream, for one reason, as aggregate.MetricError does.
type MetricTrouble struct {
	Metric, Stream, Reason string
	Count                  int64
	Sample                 events.ID // the newest entry with such an event
	FirstSeen, LastSeen    time.Time
}

// FunctionRevert is a reorganisation whose events are still in the buckets of a function.
type FunctionRevert struct {
	Function, Stream string
	ID               events.ID // the revert's own entry
	Revert           events.Revert
	RecordedAt       time.Time
}

// AcceptedHole is a loss of entries that a person has accepted for a function.
type AcceptedHole struct {
	Function, Stream string
	Hole             watermark.Hole
	Reason           string
	AcceptedAt       time.Time
	ImportedAt       *time.Time // when what the archive had lost had been imported; nil: it is lost
}

// MissingBlocks counts what the archive lacks between the blocks that it has.
type MissingBlocks struct {
	Stream, Chain string
	Holes, Blocks int64
}

// FailedRuns counts the windows whose newest run has failed, so that only a person has them computed again.
type FailedRuns struct {
	Metric, Size string
	Windows      int64
	FailedAt     time.Time // the newest
	Error        string    // of the newest
}

// BlockedWindows counts the windows that a check keeps from being final.
type BlockedWindows struct {
	Metric, Size string
	Windows      int64
	FailedAt     time.Time // the newest
	Failure      string    // the newest: the check's name, and what it says
}

// NoticeTrouble is what others have not been told yet.
type NoticeTrouble struct {
	Waiting      int64
	Since        *time.Time // the oldest of those; nil where none waits
	WaitingError string     // why one could not be sent; empty where none was tried
	GivenUp      int64      // those that were refused so often that they are not sent any more
	GivenUpError string     // why one was refused
}

// NotificationTrouble is what people have not been told yet, though it was tried or should have been, or never will be.
type NotificationTrouble struct {
	Waiting      int64
	Since        *time.Time // the oldest of those; nil where none waits
	WaitingError string     // why the newest could not be sent; empty where none was tried
	GivenUp      int64      // within a week
	GivenUpError string     // why the last one was
}

const (
	shownGivenUp = 7 * 24 * time.Hour // in which it is told that notifications were given up
	shownWaiting = 10 * time.Minute   // after which it is told that nobody has tried to send one
)

// Troubles reads all of it, in one round trip.
func (s *Store) Troubles(ctx context.Context) (Troubles, error) {
	var t Troubles
	batch := &pgx.Batch{}
	batch.Queue("select count(*), max(recorded_at) from dead_letters").QueryRow(func(row pgx.Row) error {
		return row.Scan(&t.DeadLetters, &t.DeadLetterAt)
	})
	batch.Queue(listMetricErrors).Query(func(rows pgx.Rows) (err error) {
		t.MetricErrors, err = pgx.CollectRows(rows, scanMetricTrouble)
		return err
	})
	batch.Queue(listReverts).Query(func(rows pgx.Rows) (err error) {
		t.PendingReverts, err = pgx.CollectRows(rows, scanRevert)
		return err
	})
	batch.Queue(listHoles).Query(func(rows pgx.Rows) (err error) {
		t.Holes, err = pgx.CollectRows(rows, scanAcceptedHole)
		return err
	})
	batch.Queue(countMissingBlocks).Query(func(rows pgx.Rows) (err error) {
		t.MissingBlocks, err = pgx.CollectRows(rows, pgx.RowToStructByPos[MissingBlocks])
		return err
	})
	batch.Queue(listFailedRuns).Query(func(rows pgx.Rows) (err error) {
		t.FailedRuns, err = pgx.CollectRows(rows, pgx.RowToStructByPos[FailedRuns])
		return err
	})
	batch.Queue(listBlocked).Query(func(rows pgx.Rows) (err error) {
		t.Blocked, err = pgx.CollectRows(rows, pgx.RowToStructByPos[BlockedWindows])
		return err
	})
	batch.Queue(countNotices, mostRefusals).QueryRow(func(row pgx.Row) error {
		n := &t.Notices
		return row.Scan(&n.Waiting, &n.Since, &n.WaitingError, &n.GivenUp, &n.GivenUpError)
	})
	batch.Queue(countNotifications, shownGivenUp, shownWaiting).QueryRow(func(row pgx.Row) error {
		n := &t.Notifications
		return row.Scan(&n.Waiting, &n.Since, &n.WaitingError, &n.GivenUp, &n.GivenUpError)
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return Troubles{}, fmt.Errorf("read troubles: %w", err)
	}
	return t, nil
}

func scanMetricTrouble(row pgx.CollectableRow) (m MetricTrouble, err error) {
	err = row.Scan(&m.Metric, &m.Stream, &m.Reason, &m.Count, text{&m.Sample}, &m.FirstSeen, &m.LastSeen)
	return m, err
}

func scanRevert(row pgx.CollectableRow) (r FunctionRevert, err error) {
	err = row.Scan(&r.Function, &r.Stream, text{&r.ID}, text{&r.Revert.Ancestor}, text{(*height)(&r.Revert.Number)},
		&r.Revert.Hash, &r.RecordedAt)
	return r, err
}

func scanAcceptedHole(row pgx.CollectableRow) (h AcceptedHole, err error) {
	err = row.Scan(&h.Function, &h.Stream, text{&h.Hole.After}, text{&h.Hole.Next}, &h.Hole.Removed, text{&h.Hole.First},
		&h.Reason, &h.AcceptedAt, &h.ImportedAt)
	return h, err
}

// height reads a number that may need all 64 bits, which no integer column has.
type height uint64

// UnmarshalText reads decimal digits.
func (h *height) UnmarshalText(digits []byte) error {
	number, err := strconv.ParseUint(string(digits), 10, 64)
	*h = height(number)
	return err
}
