// Package scheduler is the sweep: what is due is requested, what died is begun again, who has to know is told.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

// Name is the name of the function.
const Name = "scheduler"

// lastSweep is not shown before there was one: it has no labels, so that there is one value at most.
var lastSweep = promauto.NewGaugeVec(prometheus.GaugeOpts{
	Name: "chainmetrics_scheduler_last_sweep_timestamp_seconds",
	Help: "When this process last began a sweep.",
}, nil)

// startTime is how long a sweep begins new work, so that what it has begun then ends within a minute.
const startTime = 40 * time.Second

// Function sweeps at each tick. It keeps nothing between ticks, and any number of processes may serve it.
type Function struct {
	receiver.NoStreams
	store  Store
	broker *Broker
}

var _ receiver.Function = (*Function)(nil)

// Store is what a sweep needs of the store.
type Store interface {
	runner.Requester
	// Functions lists the metric types of which there are metrics, or of which something waits to be resolved.
	Functions(ctx context.Context) ([]string, error)
	// RequeueExpired queues runs again whose claims have run out.
	RequeueExpired(ctx context.Context) error
	// TellLate writes notices of runs that have had no result by the deadline of their metric.
	TellLate(ctx context.Context) error
	// AskForRuns gives one metric of each type, complexity and bucket size with queued runs that may begin. Each kind is given to
	// one process, and not again until somebody has looked for runs of it, or a time has passed, unless it is withdrawn.
	AskForRuns(ctx context.Context, again time.Duration) ([]events.RunRequest, error)
	// WithdrawRequests says that nobody could be asked.
	WithdrawRequests(ctx context.Context, requests []events.RunRequest) error
	// ClaimNotices gives one process notices that were not sent, the oldest first, those of windows that are final, or no longer, after all others.
	// Those that it does not settle while it has them are given to the next one.
	ClaimNotices(ctx context.Context, most int, lease time.Duration) ([]events.Notice, error)
	// SettleNotices notes how sending went. What has not arrived stays claimed until its lease has run out.
	SettleNotices(ctx context.Context, settlements []postgres.Settlement) error
	// ForgetNotices deletes notices that were sent, or given up, before a time, at most so many, and gives their number.
	ForgetNotices(ctx context.Context, before time.Time, most int) (int64, error)
	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
}

var _ Store = (*postgres.Store)(nil)

// NewFunction makes the function over a store, which sends to a Broker.
func NewFunction(store Store, broker *Broker) *Function {
	return &Function{store: store, broker: broker}
}

// Ready tells whether the store can be reached.
func (f *Function) Ready(ctx context.Context) error { return f.store.Ping(ctx) }

// Tick sweeps: it requests runs, asks the functions to carry out those that may begin, and sends notices. What is not done when
// its time is over, or cannot be sent, is there for the next one; an error means that the store cannot be used. It fails with
// events.ErrInvalid where the tick is for another function.
func (f *Function) Tick(ctx context.Context, tick events.Tick, now time.Time) error {
	if tick.Function != Name {
		return fmt.Errorf("%w: %s %q, want %q", events.ErrInvalid, events.ExtensionFunction, tick.Function, Name)
	}
	lastSweep.WithLabelValues().Set(seconds(now))
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	failed := make([]error, 4)
	var beside sync.WaitGroup
	beside.Go(func() { failed[0] = f.relay(ctx, starting) }) // what is there, however long the rest takes
	failed[1] = f.queue(ctx, now)
	beside.Go(func() { failed[2] = f.ask(ctx, now) }) // a Broker may wait until those who are asked have done their work
	failed[3] = errors.Join(f.relay(ctx, starting), f.forget(starting, now))
	beside.Wait()
	return errors.Join(failed...)
}

// queue requests runs of all functions and bucket sizes. Where that fails for one it goes on with the next.
func (f *Function) queue(ctx context.Context, now time.Time) error {
	names, err := f.store.Functions(ctx)
	if err != nil {
		return err
	}
	failed := []error{f.store.RequeueExpired(ctx), f.store.TellLate(ctx)}
	for _, name := range names {
		failed = append(failed, runner.Request(ctx, f.store, name, "", now, bucket.Sizes()...))
	}
	return errors.Join(failed...)
}
