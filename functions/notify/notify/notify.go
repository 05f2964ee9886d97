// Package notify tells people what has gone wrong: it records events as they come, and sees that each is told.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/notify/message"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
)

// Name is the name of the function.
const Name = "notify"

const (
	startTime  = 15 * time.Second   // in which a tick begins to send, so that it ends before it is cut off
	hearTime   = 5 * time.Second    // in which the request of an event sends
	newsTime   = 2 * 24 * time.Hour // in which an event is told, above what all attempts take
	dueTime    = 24 * time.Hour     // in which a message is sent that may be
	keepTime   = 30 * 24 * time.Hour
	forgetSize = 10_000 // notifications that one statement deletes
)

// unknown is the destination of a dead letter that names none.
const unknown = "unknown"

// Config is read from the environment.
type Config struct {
	GroupInterval time.Duration `envconfig:"NOTIFY_GROUP_INTERVAL" default:"5m"` // between two messages about the same
}

// Validate names what is wrong.
func (cfg *Config) Validate() error {
	if cfg.GroupInterval < 0 || cfg.GroupInterval > 24*time.Hour {
		return fmt.Errorf("NOTIFY_GROUP_INTERVAL is %s: want 0s to 24h", cfg.GroupInterval)
	}
	return nil
}

// Channel is a way to tell people. Its name is one of those in package message.
type Channel interface {
	Name() string
	// Recipients gives who is told, where a definition names some addresses, or none.
	Recipients(named []string) []string
	// Send sends a message. It fails with message.ErrRefused where the same will be refused again, with message.ErrPutOff where only
	// its recipient is not to have it now, and otherwise where no message is taken now: with a message.LaterError where the channel
	// says when to try again.
	Send(ctx context.Context, m message.Message) error
}

// Store is what the function needs of the store.
type Store interface {
	// Alerting gives who is told of a metric: the defaults where there is none of that name.
	Alerting(ctx context.Context, name string) (metric.Alerting, error)
	// RecordNotifications queues what is to be told of an event, and tells whether it is new.
	RecordNotifications(ctx context.Context, told postgres.Told) (isNew bool, err error)
	// ClaimMessage gives one process the message of a channel that has waited longest. One that is not settled before its lease has
	// run out is given to the next one.
	ClaimMessage(ctx context.Context, channel string, most int, lease time.Duration) (m postgres.Message, found bool, err error)
	// SettleMessage notes how sending a message has ended.
	SettleMessage(ctx context.Context, m postgres.Message, outcome postgres.Outcome) error
	// GiveUpNotifications gives up those that are older than a time where their channel is none of those that there are, or where they
	// were due so long ago, and gives their number.
	GiveUpNotifications(ctx context.Context, channels []string, age, overdue time.Duration) (int64, error)
	// ForgetNotifications deletes notifications that are settled and older than a time, at most so many, and gives their number.
	ForgetNotifications(ctx context.Context, age time.Duration, most int) (int64, error)
	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
}

var _ Store = (*postgres.Store)(nil)

// Function records events and sends messages. It keeps nothing between requests but who is sending, and any number of processes may
// serve it.
type Function struct {
	receiver.NoStreams
	store    Store
	interval time.Duration
	channels []Channel
	sending  []chan struct{} // of each channel: full while the request of an event sends by it
}

var _ receiver.DeadLetterListener = (*Function)(nil)

// NewFunction makes the function over a store, which tells by channels. Without any it records events, and logs them.
func NewFunction(store Store, cfg Config, channels ...Channel) *Function {
	f := &Function{store: store, interval: cfg.GroupInterval, channels: channels}
	for range channels {
		f.sending = append(f.sending, make(chan struct{}, 1))
	}
	return f
}

// Ready tells whether the store can be reached.
func (f *Function) Ready(ctx context.Context) error { return f.store.Ping(ctx) }

// Hear records an event and tells it at once, unless others about the same were told shortly before. It fails with events.ErrInvalid
// where nobody is told of such events, and otherwise where the store has not recorded it. What cannot be sent is sent later, and so is
// what comes while another request is sending: however long a server takes, it delays one request by a channel.
func (f *Function) Hear(ctx context.Context, ce event.Event, now time.Time) error {
	if _, dead := events.ParseUndelivered(ce); !dead && events.Wakes(ce.Type()) {
		tick, err := events.ParseTick(ce)
		if err != nil {
			return err
		}
		return f.Tick(ctx, tick, now)
	}
	e, err := message.Read(ce)
	if err != nil {
		return err
	}
	var alerting metric.Alerting
	if e.Undelivered == nil {
		if alerting, err = f.store.Alerting(ctx, e.Metric); err != nil {
			return err
		}
	}
	told := postgres.Told{
		Source: e.Source, ID: e.ID, Type: e.Type, Metric: e.Metric, Payload: e.CloudEvent, By: ways(e, alerting, f.channels),
	}
	if e.Undelivered != nil {
		told.Destination = e.Undelivered.Destination
	}
	isNew, err := f.store.RecordNotifications(ctx, told)
	if err != nil || !isNew {
		return err
	}
	if len(f.channels) == 0 {
		slog.WarnContext(ctx, "nobody is told: no channel is configured", "event", message.New("", "", 1, []message.Event{e}).Subject, "error", e.Error)
		return nil
	}
	if err := f.sendNow(ctx); err != nil { // the event is recorded: a tick sends it
		slog.WarnContext(ctx, "messages not sent, a tick will", "error", err)
	}
	return nil
}

// HearDeadLetter is Hear of an event that somebody has not taken, whatever it says.
func (f *Function) HearDeadLetter(ctx context.Context, ce event.Event, now time.Time) error {
	if undelivered, says := events.ParseUndelivered(ce); !says {
		undelivered.Destination = unknown
		if undelivered.Answer == "" {
			undelivered.Answer = "Knative does not say who has not taken it, nor why"
		}
		ce = undelivered.DeadLetter(ce)
	}
	return f.Hear(ctx, ce, now)
}

// sendNow sends for a short time what is to be sent, by each channel by which no other request of an event does.
func (f *Function) sendNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hearTime)
	defer cancel()
	return f.byEach(func(i int, channel Channel) error {
		select {
		case f.sending[i] <- struct{}{}:
			defer func() { <-f.sending[i] }()
			return f.sendBy(ctx, ctx, channel, 1)
		default:
			return nil
		}
	})
}

// Tick gives up what is no news any more, sends what is to be sent now, and deletes what is old. It fails with events.ErrInvalid where the tick is for another function;
// any other error means that the store cannot be used.
func (f *Function) Tick(ctx context.Context, tick events.Tick, _ time.Time) error {
	if tick.Function != Name {
		return fmt.Errorf("%w: %s %q, want %q", events.ErrInvalid, events.ExtensionFunction, tick.Function, Name)
	}
	if err := f.giveUp(ctx); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	err := f.byEach(func(_ int, channel Channel) error { return f.sendBy(ctx, starting, channel, mostFailures) })
	_, errForget := f.store.ForgetNotifications(ctx, keepTime, forgetSize)
	return errors.Join(err, errForget)
}

// giveUp gives up what would be told too late, as after months without a channel.
func (f *Function) giveUp(ctx context.Context) error {
	names := make([]string, len(f.channels))
	for i, channel := range f.channels {
		names[i] = channel.Name()
	}
	n, err := f.store.GiveUpNotifications(ctx, names, newsTime, dueTime)
	if n > 0 {
		slog.WarnContext(ctx, "notifications given up: they were not sent in time", "notifications", n)
	}
	return err
}

// byEach has each channel do something beside the others.
func (f *Function) byEach(do func(i int, channel Channel) error) error {
	failed := make([]error, len(f.channels))
	var beside sync.WaitGroup
	for i, channel := range f.channels {
		beside.Go(func() { failed[i] = do(i, channel) })
	}
	beside.Wait()
	return errors.Join(failed...)
}
