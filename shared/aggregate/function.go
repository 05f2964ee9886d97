package aggregate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Function computes the metrics of one type from the deliveries of any number of streams. It keeps nothing between
// batches but compiled definitions, so that any number of processes may serve the same function.
type Function struct {
	kind  Type
	name  string
	store Store

	mu     sync.Mutex
	queues map[string]*queue // by stream
}

// NewFunction makes the function of a metric type over a store.
func NewFunction(kind Type, store Store) *Function {
	return &Function{kind: kind, name: kind.Definitions().Name, store: store, queues: make(map[string]*queue)}
}

// Ready tells whether the store can be reached.
func (f *Function) Ready(ctx context.Context) error { return f.store.Ping(ctx) }

// Watermark gives how far the function has applied the stream.
func (f *Function) Watermark(ctx context.Context, stream string) (watermark.Mark, error) {
	return f.store.Watermark(ctx, f.name, stream)
}

// Expect says that a batch is on its way, until over is called: the one that follows its last entry waits for that.
func (f *Function) Expect(stream string, last events.ID) (over func()) {
	return f.queue(stream).expect(last)
}

// Apply commits the effects of those deliveries that lie after the watermark, together with the new watermark. It gives
// the mark that is stored afterwards, also with watermark.ErrGap or watermark.ErrDiverged, and the number of entries that
// were new.
//
// Batches of a stream are committed one by one. One that follows a batch which is expected is evaluated meanwhile.
func (f *Function) Apply(ctx context.Context, stream string, batch []events.Delivery) (watermark.Mark, int, error) {
	q := f.queue(stream)
	work := &work{stream: stream, batch: batch}
	err := q.take(ctx, q.before(batch[0].Predecessor), func() error {
		if compiled := q.programs.Load(); compiled != nil {
			return work.evaluate(ctx, compiled)
		}
		return nil
	})
	if err != nil {
		return watermark.Mark{}, 0, fmt.Errorf("%s: %w", stream, err)
	}
	defer q.release()
	for {
		compiled := q.programs.Load()
		if compiled == nil {
			if compiled, err = f.compile(ctx, stream); err != nil {
				return watermark.Mark{}, 0, err
			}
			q.programs.Store(compiled)
		}
		if err := work.evaluate(ctx, compiled); err != nil {
			return watermark.Mark{}, 0, err
		}
		mark, applied, err := f.commit(ctx, work)
		if err == nil {
			q.reached(mark.ID)
		}
		if !errors.Is(err, ErrStale) {
			return mark, applied, err
		}
		q.programs.Store(nil)
	}
}

func (f *Function) compile(ctx context.Context, stream string) (*programs, error) {
	registry, err := f.store.Registry(ctx, f.name, stream)
	if err != nil {
		return nil, err
	}
	return compile(f.kind, registry)
}

// Tick makes the partitions that the windows of the tick's bucket size need next, for every metric, whichever the tick
// names. It fails with events.ErrInvalid where the tick is for another metric type or an unknown bucket size.
func (f *Function) Tick(ctx context.Context, tick events.Tick, now time.Time) error {
	if tick.MetricType != f.name {
		return fmt.Errorf("%w: %s %q, want %q", events.ErrInvalid, events.ExtensionMetricType, tick.MetricType, f.name)
	}
	size, err := bucket.ParseSize(tick.BucketSize)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", events.ErrInvalid, events.ExtensionBucketSize, err)
	}
	return f.store.RenewPartitions(ctx, size, now)
}

func (f *Function) queue(stream string) *queue {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queues[stream] == nil {
		f.queues[stream] = newQueue()
	}
	return f.queues[stream]
}

// commit takes the lock, and evaluates again where the lock shows that part of the batch was applied before or belongs to
// another stream.
func (f *Function) commit(ctx context.Context, w *work) (mark watermark.Mark, applied int, err error) {
	stream, entries, compiled, gathered := w.stream, w.entries, w.by, w.gathered
	request := CommitRequest{
		Function: f.name, Stream: stream, Keys: gathered.keys, Windows: gathered.limited(compiled), Pairs: pairs(entries),
	}
	err = f.store.Commit(ctx, request, func(current Current) (Effects, error) {
		mark = current.Mark
		rest, err := remaining(current.Mark, entries)
		if err != nil || len(rest) == 0 {
			return Effects{}, err
		}
		if current.Version != compiled.version {
			return Effects{}, ErrStale
		}
		if len(rest) < len(entries) || foreign(current.Owners, stream) {
			if gathered, err = gather(ctx, compiled, rest, stream, current.Owners); err != nil {
				return Effects{}, err
			}
		}
		effects, err := gathered.effects(compiled, current)
		if err != nil {
			return Effects{}, err
		}
		effects.Claims = claims(rest, stream, current.Owners)
		last := rest[len(rest)-1].delivery
		effects.Mark = watermark.Mark{ID: last.ID, Hash: last.Hash}
		mark, applied = effects.Mark, len(rest)
		return effects, nil
	})
	if err != nil {
		applied = 0
	}
	return mark, applied, err
}

// remaining gives the entries after the mark.
func remaining(mark watermark.Mark, entries []entry) ([]entry, error) {
	batch := make([]events.Delivery, len(entries))
	for i, e := range entries {
		batch[i] = e.delivery
	}
	rest, err := mark.Remaining(batch)
	return entries[len(entries)-len(rest):], err
}

// foreign tells whether another stream owns one of the pairs.
func foreign(owners map[Pair]string, stream string) bool {
	for _, owner := range owners {
		if owner != stream {
			return true
		}
	}
	return false
}
