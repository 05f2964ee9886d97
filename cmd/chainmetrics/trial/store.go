package trial

import (
	"context"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// memory is the store of one function and stream, in maps.
type memory struct {
	metrics []aggregate.Metric
	mark    watermark.Mark
	buckets map[bucket.Key]aggregate.Bucket
	sets    map[bucket.Key]aggregate.Sets // by window
	letters []delivery.DeadLetter
	errors  []aggregate.MetricError
}

var _ aggregate.Store = (*memory)(nil)

func (m *memory) Watermark(context.Context, string, string) (watermark.Mark, error) {
	return m.mark, nil
}

func (m *memory) Registry(context.Context, string, string) (aggregate.Registry, error) {
	return aggregate.Registry{Version: 1, Metrics: m.metrics}, nil
}

func (m *memory) Commit(
	_ context.Context, request aggregate.CommitRequest, decide func(aggregate.Current) (aggregate.Effects, error),
) error {
	current := aggregate.Current{Mark: m.mark, Version: 1, States: make(map[bucket.Key][]byte), Sets: m.sets}
	for _, key := range request.Keys {
		if stored, ok := m.buckets[key]; ok {
			current.States[key] = stored.State
		}
	}
	effects, err := decide(current)
	if err != nil {
		return err
	}
	if !effects.Mark.ID.IsZero() {
		m.mark = effects.Mark
	}
	for _, b := range effects.Buckets {
		m.buckets[b.Key] = b
	}
	for _, w := range effects.Sets {
		m.sets[w.Window] = aggregate.Sets{Count: w.Count}
	}
	m.letters = append(m.letters, effects.DeadLetters...)
	m.errors = append(m.errors, effects.MetricErrors...)
	return nil
}

func (m *memory) AwaitArchive(context.Context, string, events.ID, time.Duration) error { return nil }

func (m *memory) RenewPartitions(context.Context, bucket.Size, time.Time) error { return nil }

func (m *memory) Ping(context.Context) error { return nil }
