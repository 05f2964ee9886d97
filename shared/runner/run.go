// Package runner carries out runs: it computes windows from the archive when they are due or asked for.
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

const (
	leased    = metric.LongestRun // after that a claim is taken for dead
	patience  = 10 * time.Second  // before another look at a run that something else must precede
	mostRuns  = 500               // of a claim
	mostTime  = 32 * 24 * time.Hour
	recording = 10 * time.Second // to note how a run has ended
)

// State is how far a run is.
type State string

// The states.
const (
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Skipped   State = "skipped" // the archive does not have the window
)

// Queue names queued runs of a function.
type Queue struct {
	Size       bucket.Size
	Metric     string // empty: any
	Complexity string // of the metric; empty: any
}

// Requester is what requesting runs needs of the store.
type Requester interface {
	// RequestDue queues runs of the windows of a size that have ended by the clock, and up to whose end everything has come, of
	// a metric of the function, or of all where no metric is named. It gives their number; where that is not 0 there may be more.
	RequestDue(ctx context.Context, function, metric string, size bucket.Size, now time.Time) (int64, error)
	// RequestHistory queues runs of the windows of the function's metrics that are older than the metric or its calculation, once
	// the archive has come to where that was applied.
	RequestHistory(ctx context.Context, function string, now time.Time) error
	// RequestReverted queues runs of the windows that held what a reorganisation has taken back, once the archive knows that.
	RequestReverted(ctx context.Context, function string) error
	// RequestPassed queues runs of the windows of what the function has passed over, once the archive has it.
	RequestPassed(ctx context.Context, function string) error
}

// Store is what runs need of the store.
type Store interface {
	aggregate.Archive
	Requester
	// ClaimRuns gives one process the oldest runs of a function and queue that may be begun: consecutive windows of a
	// metric and chain. It gives none where there are none. Claims that have run out are queued again before.
	ClaimRuns(ctx context.Context, function string, queue Queue, bounds Bounds) (Claim, error)
	// EndRuns notes why the runs of a claim did not succeed, and whether and when they are begun again.
	EndRuns(ctx context.Context, claim Claim, end End) error
}

// Bounds are those of a claim.
type Bounds struct {
	Lease time.Duration
	Runs  int
	Time  time.Duration // from the start of the first window to the end of the last one, unless it is one
	Code  string        // the version of the code that carries it out
}

// Claim is runs that one process carries out together.
type Claim struct {
	Span     aggregate.Span // with the lease; zero: there is nothing to do
	Name     string         // of the metric; empty where the store was not asked for it
	Runs     []int64        // their ids, by window
	Schedule metric.Schedule
	Attempt  int // the highest of the runs'
}

// End is how the runs of a claim have ended that did not succeed.
type End struct {
	State State         // Queued, Failed or Skipped
	After time.Duration // when a queued one may be begun again
	Free  bool          // the attempt does not count
	Error string
}

// errTooLong says that an attempt was ended.
var errTooLong = errors.New("it took longer than it may")

// endOf tells what becomes of runs that an error has ended, or that were cut short because the process, or the tick, has to end.
func endOf(err error, claim Claim, cutShort bool) End {
	end := End{State: Queued, Error: err.Error()}
	switch {
	case errors.Is(err, aggregate.ErrNotArchived):
		end.State = Skipped
	case errors.Is(err, aggregate.ErrArchiveBehind), errors.Is(err, aggregate.ErrSuperseded):
		end.After, end.Free = patience, true
	case cutShort:
		end.Free = true
	default:
		var again bool
		if end.After, again = claim.Schedule.MayRetry(claim.Attempt); !again {
			end.State = Failed
		}
	}
	return end
}

// Request queues runs of what is to be computed: windows of a function that held what was reverted, lack what was passed over, or
// are older than their metric, and those of some sizes that are due, of one metric where one is named. Where that fails for a size
// it goes on with the next.
func Request(ctx context.Context, store Requester, function, metric string, now time.Time, sizes ...bucket.Size) error {
	if err := store.RequestReverted(ctx, function); err != nil {
		return fmt.Errorf("request what was reverted: %w", err)
	}
	if err := store.RequestPassed(ctx, function); err != nil {
		return fmt.Errorf("request what was passed over: %w", err)
	}
	var failed []error
	if err := store.RequestHistory(ctx, function, now); err != nil { // of one metric, perhaps: the others' windows are due all the same
		failed = append(failed, fmt.Errorf("request history: %w", err))
	}
	for _, size := range sizes {
		failed = append(failed, requestDue(ctx, store, function, metric, size, now))
	}
	return errors.Join(failed...)
}

func requestDue(ctx context.Context, store Requester, function, metric string, size bucket.Size, now time.Time) error {
	for {
		requested, err := store.RequestDue(ctx, function, metric, size, now)
		if err != nil {
			return fmt.Errorf("request what is due: %w", err)
		}
		if requested == 0 {
			return nil
		}
	}
}

// Work carries out the runs of queues, one queue after the other, until there are none, or a time has passed. It gives how many
// runs have succeeded. What fails is noted, and begun again later; an error means that the store cannot be used.
func Work(
	ctx context.Context, kind aggregate.Type, store Store, queues []Queue, most time.Duration, code string,
) (done int, err error) {
	starting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	bounds := Bounds{Lease: leased, Runs: mostRuns, Time: mostTime, Code: code}
	for _, queue := range queues {
		for starting.Err() == nil {
			succeeded, found, err := workOnce(ctx, kind, store, queue, bounds)
			done += succeeded
			if err != nil {
				return done, err
			}
			if !found {
				break
			}
		}
	}
	return done, ctx.Err()
}

// workOnce claims runs, where there are some, and carries them out.
func workOnce(ctx context.Context, kind aggregate.Type, store Store, queue Queue, bounds Bounds) (done int, found bool, err error) {
	claim, err := store.ClaimRuns(ctx, kind.Definitions().Name, queue, bounds)
	if err != nil {
		return 0, false, fmt.Errorf("claim runs: %w", err)
	}
	if claim.Span.Lease == 0 {
		return 0, false, nil
	}
	ctx, ended := begin(ctx, claim)
	attempt, cancel := context.WithTimeoutCause(ctx, claim.Schedule.Timeout(), errTooLong)
	outcome, err := aggregate.RebuildSpan(attempt, kind, store, claim.Span)
	if errors.Is(context.Cause(attempt), errTooLong) && err != nil {
		err = fmt.Errorf("%w: %s: %w", errTooLong, claim.Schedule.Timeout(), err)
	}
	cancel()
	if err == nil {
		ended(Succeeded, outcome, nil)
		slog.InfoContext(ctx, "runs succeeded", "runs", outcome.Windows, "events", outcome.Events, "buckets", outcome.Buckets,
			"changes", len(outcome.Changes))
		return outcome.Windows, true, nil
	}
	end := endOf(err, claim, ctx.Err() != nil)
	ended(end.State, outcome, err)
	slog.WarnContext(ctx, "runs did not succeed", "state", string(end.State), "error", err)
	noting, cancelNoting := context.WithTimeout(context.WithoutCancel(ctx), recording)
	defer cancelNoting()
	if err := store.EndRuns(noting, claim, end); err != nil {
		return 0, true, fmt.Errorf("end runs %s: %w", claim.ids(), err)
	}
	return 0, true, nil
}
