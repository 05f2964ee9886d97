package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// windowFlags say which windows of a metric are meant.
type windowFlags struct {
	timeRange

	buckets []string
}

func (f *windowFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.buckets, "bucket", "b", nil, "bucket `size`; repeatable (default: all that the metric has)")
	f.timeRange.add(cmd, "", "windows that contain or follow this `time`: "+timeHelp+" (default: the first event, or start_date)",
		"windows that begin before this `time` (default: the last event, or now)")
	complete(cmd, "bucket", bucket.Names(bucket.Sizes()))
}

// windows are those of a metric that overlap a range of time.
type windows struct {
	metric   postgres.RegisteredMetric
	sizes    []bucket.Size
	from, to time.Time
}

// windows finds those that the flags, which were read, are about.
func (a *app) windows(cmd *cobra.Command, store *postgres.Store, name string, f windowFlags) (w windows, err error) {
	if w.metric, err = store.Metric(cmd.Context(), name); err != nil {
		return w, a.unknownMetric(err)
	}
	w.sizes, w.from, w.to = w.metric.Definition.BucketSizes, f.from, f.to
	if len(f.buckets) > 0 {
		if w.sizes, err = sizesOf(w.metric, f.buckets); err != nil {
			return w, usage(cmd, "%w", err)
		}
	}
	if !w.from.IsZero() && !w.to.IsZero() {
		return w, nil
	}
	first, last, err := extent(cmd.Context(), store, w.metric.Definition, a.now())
	if err != nil {
		return w, advise(err, "see how far the archive has got: %s", a.command("status"))
	}
	skew := w.metric.Definition.Skew()
	if w.from.IsZero() {
		w.from = first.Add(-skew)
	}
	if w.to.IsZero() {
		w.to = last.Add(skew).Add(time.Microsecond)
	}
	return w, nil
}

// extent gives the chain times of the first and the last event of a metric; of one that the clock drives its start and now; of one that is
// derived the times that those which it depends on have in common. It fails with [postgres.ErrNoEvents].
func extent(ctx context.Context, store *postgres.Store, d metric.Definition, now time.Time) (first, last time.Time, err error) {
	switch c := d.Calculation; {
	case c.Derived != nil:
		first, last = events.Earliest, now
		for _, name := range c.Derived.Dependencies {
			m, err := store.Metric(ctx, name)
			if err != nil {
				return first, last, fmt.Errorf("%s depends on %s: %w", d.Name, name, err)
			}
			from, to, err := extent(ctx, store, m.Definition, now)
			if err != nil {
				return first, last, err
			}
			skew := m.Definition.Skew()
			first, last = latest(first, from.Add(-skew)), earliest(last, to.Add(skew))
		}
		if last.Before(first) {
			return first, last, fmt.Errorf("%s: %w", d.Name, postgres.ErrNoEvents)
		}
		return first, last, nil
	case len(c.EventTypes()) == 0:
		return latest(d.StartDate, events.Earliest), now, nil
	}
	return store.EventTimes(ctx, postgres.RegisteredMetric{Definition: d})
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// errNotConnected says that a query runs where only the functions connect to.
var errNotConnected = errors.New("its query cannot be run here")

// checkConnection fails with [errNotConnected].
func checkConnection(d metric.Definition) error {
	if d.Calculation.SQL == nil || d.Calculation.SQL.Connection == "" {
		return nil
	}
	if variable := postgres.ConnectionVariable(d.Calculation.SQL.Connection); os.Getenv(variable) == "" {
		return fmt.Errorf("%s: %w: %s is not set", d.Name, errNotConnected, variable)
	}
	return nil
}

// sizesOf reads bucket sizes that a metric must have.
func sizesOf(m postgres.RegisteredMetric, names []string) ([]bucket.Size, error) {
	sizes := make([]bucket.Size, len(names))
	for i, name := range names {
		size, err := bucket.ParseSize(name)
		if err != nil {
			return nil, fmt.Errorf("--bucket: %w", err)
		}
		if !slices.Contains(m.Definition.BucketSizes, size) {
			return nil, fmt.Errorf("--bucket: %s has no %s buckets: it has %s", m.Definition.Name, size,
				strings.Join(bucket.Names(m.Definition.BucketSizes), ", "))
		}
		sizes[i] = size
	}
	return sizes, nil
}

// typeOf gives what computes a metric.
func typeOf(m postgres.RegisteredMetric) (aggregate.Type, error) {
	at := slices.IndexFunc(functions.Types, func(t aggregate.Type) bool { return t.Definitions().Name == m.Definition.Type })
	if at < 0 {
		return nil, fmt.Errorf("no function computes metrics of type %s", m.Definition.Type)
	}
	return functions.Types[at], nil
}
