package planner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// shown is the number of errors that are told.
	shown = 5
	// remedy is what to do about what is refused.
	remedy = "mend the named definition, delete or rename the named object of somebody else, or have the cluster allow the change; " +
		"then wait for the next tick"
)

// Outcome is what a pass has found and done.
type Outcome struct {
	Metrics                             int
	Created, Changed, Pruned, Unchanged int           // objects
	Failed                              []error       // of objects: another pass may do what this one could not
	Refused                             []Refusal     // no pass can do it, until somebody has done something
	Left                                int           // objects for which there was no time
	PingSources, Ready                  int           // that there are to be; that were ready when the pass began
	ReadyAfter                          time.Duration // where all were: from the pass that has applied one last until the last was ready
}

// Refusal says why an object cannot be made as it is to be. A definition that cannot be planned counts as one PingSource.
type Refusal struct {
	Kind Kind
	Err  error
}

// Complete tells whether everything is as the registry says.
func (o Outcome) Complete() bool { return len(o.Failed) == 0 && len(o.Refused) == 0 && o.Left == 0 }

// count notes how a change of an object has ended.
func (o *Outcome) count(kind Kind, change string, err error) {
	switch {
	case errors.Is(err, errNoTime):
		o.Left++
		return
	case errors.Is(err, ErrRefused):
		o.Refused = append(o.Refused, Refusal{kind, err})
		change = "failed"
	case err != nil:
		o.Failed = append(o.Failed, err)
		change = "failed"
	case change == created:
		o.Created++
	case change == changed:
		o.Changed++
	default:
		o.Pruned++
	}
	changes.WithLabelValues(string(kind), change).Inc()
}

// failure tells what another pass may do.
func (o Outcome) failure() error {
	failed := firstOf(o.Failed)
	if o.Left > 0 {
		failed = errors.Join(fmt.Errorf("%w for %d changes", errNoTime, o.Left), failed)
	}
	return failed
}

// Refusal tells what no pass can do.
func (o Outcome) Refusal() error {
	all := make([]error, len(o.Refused))
	for i, refusal := range o.Refused {
		all[i] = refusal.Err
	}
	return firstOf(all)
}

func firstOf(all []error) error {
	if more := len(all) - shown; more > 0 {
		all = append(all[:shown:shown], fmt.Errorf("and %d more errors", more))
	}
	return errors.Join(all...)
}

// report tells of a pass, in the log and in the process's metrics.
func (o Outcome) report(ctx context.Context, took time.Duration) {
	level := slog.LevelInfo
	if !o.Complete() {
		level = slog.LevelWarn
	}
	slog.Log(ctx, level, "planned", "metrics", o.Metrics, "created", o.Created, "changed", o.Changed,
		"pruned", o.Pruned, "unchanged", o.Unchanged, "failed", len(o.Failed), "refused", len(o.Refused), "left", o.Left,
		"seconds", took.Seconds(), "pingsources", o.PingSources, "ready", o.Ready, "ready_after_seconds", o.ReadyAfter.Seconds())
	if len(o.Refused) > 0 {
		slog.ErrorContext(ctx, "refused", "objects", len(o.Refused), "error", o.Refusal(), "do", remedy)
	}
	o.measure()
}
