package aggregate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// held is a store whose first commit begins when it is let go, or fails.
type held struct {
	aggregate.Store
	arrived chan struct{}
	letGo   chan error
	commits chan struct{} // one for each that began
}

func (s *held) Commit(
	ctx context.Context, request aggregate.CommitRequest, decide func(aggregate.Current) (aggregate.Effects, error),
) error {
	select {
	case s.commits <- struct{}{}:
		close(s.arrived)
		if err := <-s.letGo; err != nil {
			return err
		}
	default:
	}
	return s.Store.Commit(ctx, request, decide)
}

type outcome struct {
	mark    events.ID
	applied int
	err     error
}

// TestABatchWaitsForTheOneBeforeIt gives a function a batch while the one before it is under way.
func TestABatchWaitsForTheOneBeforeIt(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	tests := map[string]struct {
		fails  error // of the first batch
		leave  bool  // nobody waits for the second one any more
		first  outcome
		second outcome
	}{
		"which is applied": {first: outcome{events.ID{Minor: 2}, 2, nil}, second: outcome{events.ID{Minor: 4}, 2, nil}},
		"which fails":      {fails: broken, first: outcome{err: broken}, second: outcome{err: watermark.ErrGap}},
		"for too long":     {leave: true, first: outcome{events.ID{Minor: 2}, 2, nil}, second: outcome{err: context.Canceled}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner := pipeline.Store(t, harness.Database(t))
			pipeline.Apply(t, inner, "test.yaml", []byte(transfers))
			store := &held{Store: inner, arrived: make(chan struct{}), letGo: make(chan error), commits: make(chan struct{}, 1)}
			function := aggregate.NewFunction(counter.Type{}, store)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			begin := func(ctx context.Context, batch ...events.Delivery) chan outcome {
				said := make(chan outcome, 1)
				over := function.Expect(stream, batch[len(batch)-1].ID)
				go func() {
					defer over()
					mark, applied, err := function.Apply(ctx, stream, batch)
					said <- outcome{mark.ID, applied, err}
				}()
				return said
			}
			first := begin(t.Context(), transfer(1, 1), transfer(2, 1))
			<-store.arrived
			second := begin(ctx, transfer(3, 1), transfer(4, 1))
			select {
			case got := <-second:
				t.Errorf("the second one did not wait: %+v", got)
			case <-time.After(100 * time.Millisecond):
			}
			var gotSecond outcome
			if tt.leave {
				leave()
				gotSecond = <-second // while the first one is held
			}
			store.letGo <- tt.fails
			gotFirst := <-first
			if !tt.leave {
				gotSecond = <-second
			}
			check := func(which string, got, want outcome) {
				if !errors.Is(got.err, want.err) || got.applied != want.applied || got.mark != want.mark {
					t.Errorf("%s: got %+v, want %+v", which, got, want)
				}
			}
			check("first", gotFirst, tt.first)
			check("second", gotSecond, tt.second)
			mark, err := function.Watermark(t.Context(), stream)
			want := events.ID{Minor: uint64(tt.first.applied + tt.second.applied)}
			if err != nil || mark.ID != want {
				t.Errorf("the mark is %+v, %v, want %s", mark, err, want)
			}
		})
	}
}
