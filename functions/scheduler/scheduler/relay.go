package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const (
	claimed     = 500 // notices at a time
	leased      = time.Minute
	sendTimeout = 10 * time.Second // of each
	recording   = 5 * time.Second  // to note how sending went
	kept        = 7 * 24 * time.Hour
	forgotten   = 10_000 // notices that one statement deletes
)

// relay sends notices until there are none, or starting ends. It gives up for now where a whole claim of them fails: then it is the
// Broker's fault.
func (f *Function) relay(ctx, starting context.Context) error {
	for starting.Err() == nil {
		notices, err := f.store.ClaimNotices(ctx, claimed, leased)
		if err != nil || len(notices) == 0 {
			return err
		}
		attempts := f.attempt(ctx, notices)
		failed, last := 0, error(nil)
		for _, a := range attempts {
			if a.Err != nil {
				failed, last = failed+1, a.Err
			}
		}
		noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), recording)
		err = f.store.SettleNotices(noting, attempts)
		cancel()
		if err != nil {
			return err
		}
		if failed > 0 {
			slog.Warn("notices not sent, another sweep will try again", "notices", failed, "of", len(notices), "error", last)
		}
		if failed == len(notices) {
			return nil
		}
	}
	return nil
}

// attempt sends notices, and tells how that went. One that has no form is refused as if by the Broker.
func (f *Function) attempt(ctx context.Context, notices []events.Notice) []postgres.Attempt {
	attempts := make([]postgres.Attempt, 0, len(notices))
	var formed []event.Event
	var of []int64
	for _, n := range notices {
		ce, err := n.CloudEvent()
		if err != nil {
			attempts = append(attempts, postgres.Attempt{ID: n.ID, Err: err, Final: true})
			continue
		}
		formed, of = append(formed, ce), append(of, n.ID)
	}
	for i, err := range f.broker.send(ctx, formed, sendTimeout) {
		attempts = append(attempts, postgres.Attempt{ID: of[i], Err: err, Final: errors.Is(err, errRefused)})
	}
	return attempts
}

// forget deletes notices that are old.
func (f *Function) forget(starting context.Context, now time.Time) error {
	for starting.Err() == nil {
		n, err := f.store.ForgetNotices(starting, now.Add(-kept), forgotten)
		if err != nil || n < forgotten {
			return err
		}
	}
	return nil
}
