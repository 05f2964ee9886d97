package scheduler

import (
	"context"
	"log/slog"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/chainmetrics/chainmetrics/events"
)

const (
	// patience is how long a request may wait for a run Service, a little longer than the Triggers wait for an answer.
	patience = 6 * time.Minute
	// answerTime is how long a Broker may take to accept a request. One over in-memory channels does so when the run Service has
	// answered, which works for half a minute.
	answerTime = 45 * time.Second
)

// ask asks the functions to carry out runs that may begin.
func (f *Function) ask(ctx context.Context, now time.Time) error {
	requests, err := f.store.AskForRuns(ctx, patience)
	if err != nil || len(requests) == 0 {
		return err
	}
	all := make([]event.Event, len(requests))
	for i, r := range requests {
		all[i] = r.CloudEvent(Name, now)
	}
	var unheard []events.RunRequest
	var last error
	for i, err := range f.broker.send(ctx, all, answerTime) {
		if err != nil {
			unheard, last = append(unheard, requests[i]), err
		}
	}
	if len(unheard) == 0 {
		return nil
	}
	slog.WarnContext(ctx, "requests of runs not sent, the next sweep will try again", "requests", len(unheard), "error", last)
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	return f.store.WithdrawRequests(noting, unheard)
}
