package planner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const (
	startTime = 40 * time.Second // a pass begins nothing new after that, so that it ends within the time of a request
	atOnce    = 16               // requests to the cluster
)

// step is a change of one object.
type step struct {
	kind           Kind
	metric, change string
	do             func(ctx context.Context) error
}

// errNoTime says that a step was not begun.
var errNoTime = errors.New("there was no time")

// Changes of objects.
const (
	created = "created"
	changed = "changed"
	pruned  = "pruned"
)

// plan makes a pass, and notes what it has seen. Whoever calls it holds the lock.
func (f *Function) plan(ctx context.Context, now time.Time) (Outcome, error) {
	timer := prometheus.NewTimer(passes)
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	// The objects are listed before the registry is read. So an object that is pruned was there when its metric was already gone. The
	// other way round a metric could be made after the registry was read, and its objects, which another process has applied, be taken
	// for those of none.
	all, err := f.cluster.List(ctx)
	if err != nil {
		return Outcome{}, fmt.Errorf("list planned objects: %w", err)
	}
	metrics, err := f.store.Metrics(ctx)
	if err != nil {
		return Outcome{}, err
	}
	live := make(map[key]Live, len(all))
	for _, l := range all {
		live[key{l.Kind, l.Name}] = l
	}
	desired, kept, refused := f.desired(metrics)
	steps, unchanged := f.steps(desired, live, kept, now)
	outcome := survey(desired, live)
	outcome.Metrics, outcome.Unchanged = len(metrics), unchanged
	f.seen = versionsOf(metrics)
	for _, err := range refused {
		outcome.count(PingSource, "", err)
	}
	for i, err := range carryOut(ctx, starting, steps) {
		outcome.count(steps[i].kind, steps[i].change, err)
		if err != nil && !errors.Is(err, ErrRefused) {
			f.seen[steps[i].metric] = 0
		}
	}
	outcome.report(ctx, timer.ObserveDuration())
	return outcome, outcome.failure()
}

// desired gives the objects of metrics, and the names of those that cannot be planned, whose objects are kept as they are.
func (f *Function) desired(metrics []postgres.RegisteredMetric) (all []Object, kept map[string]bool, refused []error) {
	kept = make(map[string]bool)
	for _, m := range metrics {
		objects, err := ObjectsOf(m.Definition, f.place.Namespace)
		if err != nil {
			refused = append(refused, fmt.Errorf("%w: %w", ErrRefused, err))
			kept[m.Definition.Name] = true
			continue
		}
		for _, o := range objects {
			all = append(all, o.stamped(f.place.Owner))
		}
	}
	return all, kept, refused
}

// steps gives what is to be done: first what is to be there, then what is not. Of what is to be there some is unchanged.
func (f *Function) steps(desired []Object, live map[key]Live, kept map[string]bool, now time.Time) (all []step, unchanged int) {
	wanted := make(map[key]bool, len(desired))
	for _, o := range desired {
		wanted[o.key()] = true
		change := changed
		if l, there := live[o.key()]; !there {
			change = created
		} else if o.heldBy(l.Fields) {
			unchanged++
			continue
		}
		apply := func(ctx context.Context) error { return f.cluster.Apply(ctx, o.at(now)) }
		all = append(all, step{o.Kind, o.Metadata.Labels[LabelMetric], change, apply})
	}
	for k, l := range live {
		if of := l.Labels[LabelMetric]; !wanted[k] && !kept[of] {
			all = append(all, step{k.kind, of, pruned, func(ctx context.Context) error { return f.cluster.Delete(ctx, l) }})
		}
	}
	return all, unchanged
}

// carryOut takes steps, some at a time, until starting ends, and tells how each has ended. Where one fails the others are taken all
// the same.
func carryOut(ctx, starting context.Context, steps []step) []error {
	ended := make([]error, len(steps))
	var taking errgroup.Group
	taking.SetLimit(atOnce)
	for i, s := range steps {
		if starting.Err() != nil {
			ended[i] = errNoTime
			continue
		}
		taking.Go(func() error {
			ended[i] = s.do(ctx)
			return nil
		})
	}
	_ = taking.Wait() // none fails
	return ended
}
