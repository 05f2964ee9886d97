package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/chainmetrics/chainmetrics/functions/notify/message"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const (
	claimSize    = 100             // events of a message that are read
	leaseTime    = 2 * time.Minute // above what any channel may take
	settleTime   = 5 * time.Second // to note how sending went
	mostFailures = 3               // messages in succession that a channel does not take before a tick leaves it alone

	firstPause   = time.Minute // after a failed attempt, twice as long after each further one
	longestPause = time.Hour
	mostPause    = 24 * time.Hour // that a channel may ask for
	// mostAttempts take a day.
	mostAttempts = 30
)

var notifications = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "chainmetrics_notifications_total",
	Help: "Notifications, by channel and outcome of an attempt to send them: sent; failed, which is tried again; given_up.",
}, []string{"channel", "outcome"})

// sendBy sends messages by one channel until there are none, starting ends, or the channel seems to be out of order: it has
// not taken so many in succession, whoever they were for.
func (f *Function) sendBy(ctx, starting context.Context, channel Channel, mostFailures int) error {
	for failures := 0; failures < mostFailures && starting.Err() == nil; {
		claimed, found, err := f.store.ClaimMessage(ctx, channel.Name(), claimSize, leaseTime)
		if err != nil || !found {
			return err
		}
		err = attempt(ctx, channel, claimed)
		outcome := f.outcome(claimed, err)
		count(channel, outcome.State, claimed.Count)
		if err != nil {
			slog.WarnContext(ctx, "message not sent", "channel", channel.Name(), "about", claimed.About, "events", claimed.Count,
				"attempt", claimed.Attempts+1, "state", string(outcome.State), "error", err)
		}
		failures++
		if err == nil || errors.Is(err, message.ErrRefused) || errors.Is(err, message.ErrPutOff) {
			failures = 0
		}
		noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		err = f.store.SettleMessage(noting, claimed, outcome)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// attempt sends a message once.
func attempt(ctx context.Context, channel Channel, claimed postgres.Message) error {
	all := make([]message.Event, len(claimed.Payloads))
	for i, payload := range claimed.Payloads {
		var ce event.Event
		err := json.Unmarshal(payload, &ce)
		if err == nil {
			all[i], err = message.Read(ce)
		}
		if err != nil {
			return fmt.Errorf("%w: read event: %w", message.ErrRefused, err) // another version has written it
		}
	}
	return channel.Send(ctx, message.New(channel.Name(), claimed.Recipient, claimed.Count, all))
}

// outcome tells what becomes of a message after an attempt.
func (f *Function) outcome(claimed postgres.Message, err error) postgres.Outcome {
	switch {
	case err == nil:
		return postgres.Outcome{State: postgres.MessageSent, Next: f.interval}
	case errors.Is(err, message.ErrRefused), claimed.Attempts+1 >= mostAttempts:
		return postgres.Outcome{State: postgres.MessageFailed, Next: f.interval, Error: err.Error()}
	}
	pause := min(firstPause<<min(claimed.Attempts, 10), longestPause)
	if later, ok := errors.AsType[*message.LaterError](err); ok {
		pause = max(pause, min(later.After, mostPause))
	}
	return postgres.Outcome{State: postgres.MessageQueued, Next: pause, Error: err.Error()}
}

func count(channel Channel, state postgres.MessageState, n int) {
	outcome := map[postgres.MessageState]string{
		postgres.MessageSent: "sent", postgres.MessageQueued: "failed", postgres.MessageFailed: "given_up",
	}[state]
	notifications.WithLabelValues(channel.Name(), outcome).Add(float64(n))
}
