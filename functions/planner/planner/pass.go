package planner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const (
	startTime = 40 * time.Second // a pass begins nothing new after that, so that it ends within the time of a request
	atOnce    = 16               // requests to the cluster
	shown     = 5                // errors that are told
)

// Outcome is what a pass has found and done.
type Outcome struct {
	Metrics                             int
	Created, Changed, Pruned, Unchanged int           // objects
	Failed, Left                        int           // not as they should be: that could not be changed, or for which there was no time
	PingSources, Ready                  int           // that there are to be; that were ready when the pass began
	ReadyAfter                          time.Duration // where all were: from the pass that has applied one last until the last was ready
}

// Complete tells whether everything is as the registry says.
func (o Outcome) Complete() bool { return o.Failed == 0 && o.Left == 0 }

// step is a change of one object.
type step struct {
	kind   Kind
	change string
	do     func(ctx context.Context) error
}

// Changes of objects.
const (
	created = "created"
	changed = "changed"
	pruned  = "pruned"
)

// plan makes a pass. It gives the version of each metric that was read, nil unless all is as it should be.
func (f *Function) plan(ctx context.Context, now time.Time) (outcome Outcome, versions map[string]int, err error) {
	timer := prometheus.NewTimer(passes)
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	// The objects are listed before the registry is read. So an object that is pruned was there when its metric was already gone. The
	// other way round a metric could be made after the registry was read, and its objects, which another process has applied, be taken
	// for those of none.
	all, err := f.cluster.List(ctx)
	if err != nil {
		return outcome, nil, fmt.Errorf("list planned objects: %w", err)
	}
	metrics, err := f.store.Metrics(ctx)
	if err != nil {
		return outcome, nil, err
	}
	live := make(map[key]Live, len(all))
	for _, l := range all {
		live[key{l.Kind, l.Name}] = l
	}
	desired, kept, err := f.desired(metrics)
	outcome = survey(desired, live)
	outcome.Metrics = len(metrics)
	failed := carryOut(ctx, starting, &outcome, f.steps(desired, live, kept, now, &outcome))
	err = errors.Join(err, failed)
	report(ctx, outcome, timer.ObserveDuration(), err)
	if err != nil || !outcome.Complete() {
		return outcome, nil, err
	}
	versions = make(map[string]int, len(metrics))
	for _, m := range metrics {
		versions[m.Definition.Name] = m.Version
	}
	return outcome, versions, nil
}

// desired gives the objects of metrics, and the names of those that cannot be planned, whose objects are kept as they are.
func (f *Function) desired(metrics []postgres.RegisteredMetric) (all []Object, kept map[string]bool, err error) {
	var failed []error
	kept = make(map[string]bool)
	for _, m := range metrics {
		objects, err := ObjectsOf(m.Definition, f.place.Namespace)
		if err != nil {
			failed = append(failed, err)
			kept[m.Definition.Name] = true
			continue
		}
		for _, o := range objects {
			all = append(all, o.stamped(f.place.Owner))
		}
	}
	return all, kept, errors.Join(failed...)
}

// steps gives what is to be done: first what is to be there, then what is not.
func (f *Function) steps(desired []Object, live map[key]Live, kept map[string]bool, now time.Time, outcome *Outcome) (all []step) {
	wanted := make(map[key]bool, len(desired))
	for _, o := range desired {
		wanted[o.key()] = true
		change := changed
		if l, there := live[o.key()]; !there {
			change = created
		} else if o.heldBy(l.Fields) {
			outcome.Unchanged++
			continue
		}
		all = append(all, step{o.Kind, change, func(ctx context.Context) error { return f.cluster.Apply(ctx, o.at(now)) }})
	}
	for k, l := range live {
		if !wanted[k] && !kept[l.Labels[LabelMetric]] {
			all = append(all, step{k.kind, pruned, func(ctx context.Context) error { return f.cluster.Delete(ctx, l) }})
		}
	}
	return all
}

// carryOut takes steps, some at a time, until starting ends. Where one fails the others are taken all the same. Its error tells the
// first ones.
func carryOut(ctx, starting context.Context, outcome *Outcome, steps []step) error {
	var (
		mu     sync.Mutex
		failed []error
		taking errgroup.Group
	)
	taking.SetLimit(atOnce)
	for i, s := range steps {
		if starting.Err() != nil {
			outcome.Left = len(steps) - i
			break
		}
		taking.Go(func() error {
			err := s.do(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
			}
			outcome.count(s, err)
			return nil
		})
	}
	_ = taking.Wait() // none fails
	if outcome.Left > 0 {
		failed = append([]error{fmt.Errorf("there was no time for %d changes", outcome.Left)}, failed...)
	}
	if more := len(failed) - shown; more > 0 {
		failed = append(failed[:shown], fmt.Errorf("and %d more errors", more))
	}
	return errors.Join(failed...)
}

// count notes how a step has ended.
func (o *Outcome) count(s step, err error) {
	switch {
	case err != nil:
		o.Failed++
		changes.WithLabelValues(string(s.kind), "failed").Inc()
		return
	case s.change == created:
		o.Created++
	case s.change == changed:
		o.Changed++
	default:
		o.Pruned++
	}
	changes.WithLabelValues(string(s.kind), s.change).Inc()
}

// report tells of a pass, in the log and in the process's metrics.
func report(ctx context.Context, o Outcome, took time.Duration, err error) {
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
	}
	slog.Log(ctx, level, "planned", "metrics", o.Metrics, "created", o.Created, "changed", o.Changed,
		"pruned", o.Pruned, "unchanged", o.Unchanged, "failed", o.Failed, "left", o.Left, "seconds", took.Seconds(),
		"pingsources", o.PingSources, "ready", o.Ready, "ready_after_seconds", o.ReadyAfter.Seconds())
	o.measure()
}
