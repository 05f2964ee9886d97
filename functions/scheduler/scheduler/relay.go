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
	claimSize   = 500 // notices at a time
	leaseTime   = time.Minute
	sendTimeout = 10 * time.Second // of each
	settleTime  = 5 * time.Second  // to note how sending went
	keepTime    = 7 * 24 * time.Hour
	forgetSize  = 10_000 // notices that one statement deletes
)

// relay sends notices until there are none, or starting ends. It gives up for now where a whole claim of them fails: then it is the
// Broker's fault.
func (f *Function) relay(ctx, starting context.Context) error {
	for starting.Err() == nil {
		notices, err := f.store.ClaimNotices(ctx, claimSize, leaseTime)
		if err != nil || len(notices) == 0 {
			return err
		}
		settlements := f.attempt(ctx, notices)
		failed, last := 0, error(nil)
		for _, s := range settlements {
			if s.Err != nil {
				failed, last = failed+1, s.Err
			}
		}
		noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		err = f.store.SettleNotices(noting, settlements)
		cancel()
		if err != nil {
			return err
		}
		if failed > 0 {
			slog.WarnContext(ctx, "notices not sent, another sweep will try again", "notices", failed, "of", len(notices), "error", last)
		}
		if failed == len(notices) {
			return nil
		}
	}
	return nil
}

// attempt sends notices, and tells how that went. One that has no form is refused as if by the Broker.
func (f *Function) attempt(ctx context.Context, notices []events.Notice) []postgres.Settlement {
	settlements := make([]postgres.Settlement, 0, len(notices))
	var formed []event.Event
	var of []int64
	for _, n := range notices {
		ce, err := n.CloudEvent()
		if err != nil {
			settlements = append(settlements, postgres.Settlement{ID: n.ID, Err: err, Refused: true})
			continue
		}
		formed, of = append(formed, ce), append(of, n.ID)
	}
	for i, err := range f.broker.send(ctx, formed, sendTimeout) {
		settlements = append(settlements, postgres.Settlement{ID: of[i], Err: err, Refused: errors.Is(err, errRefused)})
	}
	return settlements
}

// forget deletes notices that are old.
func (f *Function) forget(starting context.Context, now time.Time) error {
	for starting.Err() == nil {
		n, err := f.store.ForgetNotices(starting, now.Add(-keepTime), forgetSize)
		if err != nil || n < forgetSize {
			return err
		}
	}
	return nil
}
