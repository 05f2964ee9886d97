// Package trial computes what definitions would give for some entries.
package trial

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/series"
)

// stream is the name of the stream that the entries seem to come from.
const stream = "trial"

// Bounds of what is applied at once.
const (
	batchEntries = 1000
	batchBytes   = 8 << 20
)

// Trial applies entries by the functions themselves, over memory. It is not safe for concurrent use.
type Trial struct {
	functions []*aggregate.Function
	stores    []*memory
	ids       map[string]int64 // of the metrics, by name
	last      events.ID
	waiting   []events.Delivery
	bytes     int // of their data
	entries   int
}

// New tries definitions, which were checked, by functions of the types.
func New(types []aggregate.Type, definitions []metric.Definition) *Trial {
	t := &Trial{ids: make(map[string]int64, len(definitions))}
	for _, kind := range types {
		store := &memory{buckets: make(map[bucket.Key]aggregate.Bucket), sets: make(map[bucket.Key]aggregate.Sets)}
		for i, d := range definitions {
			if d.Type == kind.Definitions().Name {
				t.ids[d.Name] = int64(i)
				store.metrics = append(store.metrics, aggregate.Metric{ID: int64(i), Definition: d})
			}
		}
		t.stores = append(t.stores, store)
		t.functions = append(t.functions, aggregate.NewFunction(kind, store))
	}
	return t
}

// Add takes an entry, whose id has to lie after those before.
func (t *Trial) Add(ctx context.Context, entry events.Entry) error {
	t.waiting = append(t.waiting, events.NewDelivery(stream, entry, t.last))
	t.last = entry.ID
	t.entries++
	t.bytes += len(t.waiting[len(t.waiting)-1].Data)
	if len(t.waiting) < batchEntries && t.bytes < batchBytes {
		return nil
	}
	return t.Flush(ctx)
}

// Flush applies what was added.
func (t *Trial) Flush(ctx context.Context) error {
	if len(t.waiting) == 0 {
		return nil
	}
	for _, f := range t.functions {
		if _, _, err := f.Apply(ctx, stream, t.waiting); err != nil {
			return fmt.Errorf("try entries up to %s: %w", t.last, err)
		}
	}
	t.waiting, t.bytes = t.waiting[:0], 0
	return nil
}

// Entries is how many were added.
func (t *Trial) Entries() int { return t.entries }

// Unreadable gives the entries that would become dead letters.
func (t *Trial) Unreadable() []delivery.DeadLetter { return t.stores[0].letters }

// Error counts what a metric could not count, for one reason, as aggregate.MetricError does.
type Error struct {
	Metric, Reason string
	Count          int64
	Sample         events.ID // the newest entry with such an event
}

// Errors gives what could not be counted, by metric and reason.
func (t *Trial) Errors() []Error {
	type failure struct {
		id     int64
		reason string
	}
	var all []Error
	places := map[failure]int{}
	for _, store := range t.stores {
		for _, e := range store.errors {
			at, known := places[failure{e.Metric, e.Reason}]
			if !known {
				at = len(all)
				places[failure{e.Metric, e.Reason}] = at
				all = append(all, Error{Metric: store.name(e.Metric), Reason: e.Reason})
			}
			all[at].Count += e.Count
			all[at].Sample = e.Sample
		}
	}
	slices.SortFunc(all, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

func (m *memory) name(id int64) string {
	i := slices.IndexFunc(m.metrics, func(metric aggregate.Metric) bool { return metric.ID == id })
	return m.metrics[i].Definition.Name
}

// Buckets gives the buckets of a metric and size, in no order.
func (t *Trial) Buckets(name string, size bucket.Size) ([]series.Bucket, error) {
	var found []series.Bucket
	for _, store := range t.stores {
		for key, b := range store.buckets {
			if key.Size != size || key.Metric != t.ids[name] {
				continue
			}
			row := series.Bucket{Chain: key.Chain, Window: size.Window(key.Start), Value: b.Value, Detail: b.Detail}
			if err := json.Unmarshal([]byte(key.Dimensions), &row.Dimensions); err != nil {
				return nil, fmt.Errorf("read dimensions of %s: %w", name, err)
			}
			found = append(found, row)
		}
	}
	return found, nil
}
