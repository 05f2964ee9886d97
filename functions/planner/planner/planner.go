// Package planner keeps the schedules of a cluster as the registry says: a PingSource for each metric and bucket size, with a
// readable copy of each definition.
package planner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
)

// Name is the name of the function.
const Name = "planner"

var (
	// ErrRefused says that an object cannot be made as it is to be until somebody has done something: it stops no other, and another
	// pass is of no use before.
	ErrRefused = errors.New("trying again does not help")
	// ErrForeign is an [ErrRefused]: an object has the name of a planned one, and somebody else has made it. It is never overwritten.
	// Rename it, or delete it.
	ErrForeign = fmt.Errorf("%w: somebody else's object has that name", ErrRefused)
)

// Function plans at each tick, and when a metric has changed. What it keeps between passes may be lost, and any number of processes
// may serve it.
type Function struct {
	receiver.NoStreams
	store   Store
	cluster Cluster
	place   Place

	mu   sync.Mutex // held by a pass
	seen versions   // by the last pass that has read both registry and cluster
}

var _ receiver.Listener = (*Function)(nil)

// Store is what planning needs of the store.
type Store interface {
	// Metrics lists the registry.
	Metrics(ctx context.Context) ([]postgres.RegisteredMetric, error)
	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
}

var _ Store = (*postgres.Store)(nil)

// Cluster holds objects of one namespace. Its methods may be called concurrently.
type Cluster interface {
	// List gives the objects of all kinds that have the label [LabelManagedBy] with the value [Manager], and were made by Apply.
	List(ctx context.Context) ([]Live, error)
	// Apply makes an object as it is to be, whoever has changed it. It fails with [ErrForeign], and with [ErrRefused] where the
	// cluster does not take the object, or does not allow the change.
	Apply(ctx context.Context, o Object) error
	// Delete removes an object, if it is still there, and no other of its name. It fails with [ErrRefused] as Apply does.
	Delete(ctx context.Context, live Live) error
}

// Live is an object as it is in a cluster.
type Live struct {
	Kind                Kind
	Name, UID           string
	Labels, Annotations map[string]string
	Fields              map[string]any // the whole object, as JSON
	ReadySince          time.Time      // of a PingSource; zero: it is not ready
}

// Place is where planned objects are.
type Place struct {
	Namespace string
	Owner     *Owner // which they go with; nil: none
}

// NewFunction makes the function over a store, for a cluster.
func NewFunction(store Store, cluster Cluster, place Place) *Function {
	return &Function{store: store, cluster: cluster, place: place}
}

// Ready tells whether the store can be reached.
func (f *Function) Ready(ctx context.Context) error { return f.store.Ping(ctx) }

// Tick plans. An error means that not everything is as it should be, and that another pass may mend it. What is refused is no error:
// it is logged, and counted. It fails with events.ErrInvalid where the tick is for another function.
func (f *Function) Tick(ctx context.Context, tick events.Tick, now time.Time) error {
	if tick.Function != Name {
		return fmt.Errorf("%w: %s %q, want %q", events.ErrInvalid, events.ExtensionFunction, tick.Function, Name)
	}
	_, err := f.Plan(ctx, now)
	return err
}

// Hear plans at a tick, and where a metric has changed since the last pass: when a thousand metrics are applied, one pass sees them
// all. It fails as Tick does, and with events.ErrInvalid where the event is another.
func (f *Function) Hear(ctx context.Context, ce event.Event, now time.Time) error {
	if events.Wakes(ce.Type()) {
		tick, err := events.ParseTick(ce)
		if err != nil {
			return err
		}
		return f.Tick(ctx, tick, now)
	}
	changed, err := events.ParseMetricChanged(ce)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen.have(changed) {
		return nil
	}
	_, err = f.plan(ctx, now)
	return err
}

// Plan makes the cluster as the registry says. It fails where the two cannot be read, or where another pass may do what this one could
// not; what could be done is done then. The outcome tells what is refused.
func (f *Function) Plan(ctx context.Context, now time.Time) (Outcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plan(ctx, now)
}

// versions are those of the metrics of a registry. Where another pass may do what one has left of a metric, it has version 0.
type versions map[string]int

func versionsOf(metrics []postgres.RegisteredMetric) versions {
	all := make(versions, len(metrics))
	for _, m := range metrics {
		all[m.Definition.Name] = m.Version
	}
	return all
}

// have tells whether whoever has read the versions knows of a change. A metric that was deleted begins anew with version 1 if it is
// made again; then the notice of its deletion, which comes before or after, is unknown.
func (v versions) have(changed events.MetricChanged) bool {
	version, there := v[changed.Metric]
	if changed.Change == events.MetricDeleted {
		return v != nil && !there
	}
	return there && changed.Version <= int64(version)
}
