package runner

import (
	"context"
	"errors"
	"fmt"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
)

// ErrUnderWay says that another process computes one of the windows. Later they can be.
var ErrUnderWay = errors.New("one of the windows is being computed")

// NowStore is what runs need of the store that do not wait for their turn.
type NowStore interface {
	aggregate.Archive
	// StartRuns requests and claims runs of the windows of a span. It fails with [ErrUnderWay].
	StartRuns(ctx context.Context, span aggregate.Span, bounds Bounds) (Claim, error)
	// EndRuns notes why the runs of a claim did not succeed.
	EndRuns(ctx context.Context, claim Claim, end End) error
}

// Now computes the windows of a span, as runs that are not queued, and not begun again where they fail: whoever asks learns why.
// It fails with [ErrUnderWay], and as [aggregate.RebuildSpan] does.
func Now(ctx context.Context, kind aggregate.Type, store NowStore, span aggregate.Span, code string) error {
	claim, err := store.StartRuns(ctx, span, Bounds{Lease: leased, Code: code})
	if err != nil {
		return err
	}
	ctx, ended := begin(ctx, claim)
	attempt, cancel := context.WithTimeoutCause(ctx, leased, errTooLong)
	defer cancel()
	outcome, err := aggregate.RebuildSpan(attempt, kind, store, claim.Span)
	if err == nil {
		ended(Succeeded, outcome, nil)
		return nil
	}
	end := End{State: Failed, Error: err.Error()}
	if errors.Is(err, aggregate.ErrNotArchived) {
		end.State = Skipped
	}
	ended(end.State, outcome, err)
	noting, cancelNoting := context.WithTimeout(context.WithoutCancel(ctx), recording)
	defer cancelNoting()
	if failed := store.EndRuns(noting, claim, end); failed != nil {
		return errors.Join(err, fmt.Errorf("end runs %s: %w", claim.ids(), failed))
	}
	return err
}
