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

	mu      sync.Mutex
	streams map[string]*streamState
}

// streamState is what a function knows of a stream. Its turn is taken by one batch at a time, since a second would only
// wait for the same row of the store.
type streamState struct {
	turn     chan struct{}
	programs *programs // nil: to be read
}

// NewFunction makes the function of a metric type over a store.
func NewFunction(kind Type, store Store) *Function {
	return &Function{kind: kind, name: kind.Definitions().Name, store: store, streams: make(map[string]*streamState)}
}

// Ready tells whether the store can be reached.
func (f *Function) Ready(ctx context.Context) error { return f.store.Ping(ctx) }

// Watermark gives how far the function has applied the stream.
func (f *Function) Watermark(ctx context.Context, stream string) (watermark.Mark, error) {
	return f.store.Watermark(ctx, f.name, stream)
}

// Apply commits the effects of those deliveries that lie after the watermark, together with the new watermark. It gives
// the mark that is stored afterwards, also with watermark.ErrGap or watermark.ErrDiverged, and the number of entries that
// were new.
func (f *Function) Apply(ctx context.Context, stream string, batch []events.Delivery) (watermark.Mark, int, error) {
	state := f.stream(stream)
	select {
	case state.turn <- struct{}{}:
		defer func() { <-state.turn }()
	case <-ctx.Done():
		return watermark.Mark{}, 0, fmt.Errorf("wait for the batch before on %s: %w", stream, ctx.Err())
	}
	entries := open(batch)
	for {
		if state.programs == nil {
			registry, err := f.store.Registry(ctx, f.name, stream)
			if err != nil {
				return watermark.Mark{}, 0, err
			}
			if state.programs, err = compile(f.kind, registry); err != nil {
				return watermark.Mark{}, 0, err
			}
		}
		mark, applied, err := f.commit(ctx, stream, state.programs, entries)
		if !errors.Is(err, ErrStale) {
			return mark, applied, err
		}
		state.programs = nil
	}
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

func (f *Function) stream(stream string) *streamState {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams[stream] == nil {
		f.streams[stream] = &streamState{turn: make(chan struct{}, 1)}
	}
	return f.streams[stream]
}

// commit evaluates the whole batch before it takes the lock, and again, in part, where the lock shows that part of it was
// applied before or belongs to another stream.
func (f *Function) commit(ctx context.Context, stream string, compiled *programs, entries []entry) (
	mark watermark.Mark, applied int, err error,
) {
	gathered, err := gather(ctx, compiled, entries, stream, nil)
	if err != nil {
		return watermark.Mark{}, 0, err
	}
	request := CommitRequest{
		Function: f.name, Stream: stream, Keys: gathered.keys(), Windows: gathered.limited(compiled), Pairs: pairs(entries),
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
