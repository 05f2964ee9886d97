package aggregate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// patience is how long a batch waits for the archive. The archive's source reads an entry at the same time, so that this is over
// in some milliseconds unless the archive is down, starts, or has much to catch up with.
const patience = 500 * time.Millisecond

// Function computes the metrics of one type from the deliveries of any number of streams. It keeps nothing between
// batches but compiled definitions, so that any number of processes may serve the same function.
type Function struct {
	kind     Type
	name     string
	store    Store
	queues   delivery.Queues
	compiled sync.Map // *programs by stream, as they were read last
}

// NewFunction makes the function of a metric type over a store.
func NewFunction(kind Type, store Store) *Function {
	return &Function{kind: kind, name: kind.Definitions().Name, store: store}
}

// Ready tells whether the store can be reached.
func (f *Function) Ready(ctx context.Context) error { return f.store.Ping(ctx) }

// Watermark gives how far the function has applied the stream.
func (f *Function) Watermark(ctx context.Context, stream string) (watermark.Mark, error) {
	return f.store.Watermark(ctx, f.name, stream)
}

// Expect says that a batch is on its way, until over is called: the one that follows its last entry waits for that.
func (f *Function) Expect(stream string, last events.ID) (over func()) {
	return f.queues.Of(stream).Expect(last)
}

// Apply commits the effects of those deliveries that lie after the watermark, together with the new watermark. It gives
// the mark that is stored afterwards, also with watermark.ErrGap or watermark.ErrDiverged, and the number of entries that
// were new.
//
// Batches of a stream are committed one by one. One that follows a batch which is expected is evaluated meanwhile.
//
// Of an open stream nothing is applied that the archive does not have, where it takes part: what is applied must not get lost
// with Redis. A batch waits for the archive for some time; then what the archive has of it is applied, perhaps nothing.
func (f *Function) Apply(ctx context.Context, stream string, batch []events.Delivery) (watermark.Mark, int, error) {
	ctx, done := delivery.Trace(ctx, f.name, stream, batch)
	mark, applied, err := f.apply(ctx, stream, batch)
	done(mark, applied, err)
	return mark, applied, err
}

func (f *Function) apply(ctx context.Context, stream string, batch []events.Delivery) (watermark.Mark, int, error) {
	q := f.queues.Of(stream)
	work := &work{stream: stream, batch: batch}
	err := q.Take(ctx, batch[0].Predecessor, func() error {
		if compiled, ok := f.compiled.Load(stream); ok {
			return work.evaluate(ctx, compiled.(*programs))
		}
		return nil
	})
	if err != nil {
		return watermark.Mark{}, 0, fmt.Errorf("%s: %w", stream, err)
	}
	defer q.Release()
	for {
		compiled, err := f.programs(ctx, stream)
		if err != nil {
			return watermark.Mark{}, 0, err
		}
		if err := work.evaluate(ctx, compiled); err != nil {
			return watermark.Mark{}, 0, err
		}
		if compiled.open {
			if err := f.store.AwaitArchive(ctx, stream, batch[len(batch)-1].ID, patience); err != nil {
				return watermark.Mark{}, 0, err
			}
		}
		mark, applied, err := f.commit(ctx, work)
		if err == nil {
			q.Reached(mark.ID)
		}
		if !errors.Is(err, ErrStale) {
			return mark, applied, err
		}
		f.compiled.Delete(stream)
	}
}

// programs gives those that were read last or, where there are none, reads them.
func (f *Function) programs(ctx context.Context, stream string) (*programs, error) {
	if compiled, ok := f.compiled.Load(stream); ok {
		return compiled.(*programs), nil
	}
	registry, err := f.store.Registry(ctx, f.name, stream)
	if err != nil {
		return nil, err
	}
	compiled, err := compile(f.kind, registry)
	if err != nil {
		return nil, err
	}
	f.compiled.Store(stream, compiled)
	return compiled, nil
}

// Tick makes the partitions that the windows of the tick's bucket size need next, for every metric, whichever the tick
// names. It fails with events.ErrInvalid where the tick is for another metric type or an unknown bucket size.
func (f *Function) Tick(ctx context.Context, tick events.Tick, now time.Time) error {
	if tick.Function != f.name {
		return fmt.Errorf("%w: %s %q, want %q", events.ErrInvalid, events.ExtensionMetricType, tick.Function, f.name)
	}
	size, err := bucket.ParseSize(tick.BucketSize)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", events.ErrInvalid, events.ExtensionBucketSize, err)
	}
	return f.store.RenewPartitions(ctx, size, now)
}

// commit takes the lock, and evaluates again where the lock shows that part of the batch was applied before or belongs to
// another stream.
func (f *Function) commit(ctx context.Context, w *work) (mark watermark.Mark, applied int, err error) {
	stream, entries, compiled, gathered := w.stream, w.entries, w.by, w.gathered
	request := CommitRequest{
		Function: f.name, Stream: stream, Open: compiled.open, Keys: gathered.keys, Windows: gathered.limited(compiled),
		Pairs: delivery.Pairs(entries),
	}
	err = f.store.Commit(ctx, request, func(current Current) (Effects, error) {
		mark = current.Mark
		rest, err := delivery.Remaining(current.Mark, entries)
		if err != nil || len(rest) == 0 {
			return Effects{}, err
		}
		if current.Version != compiled.version {
			return Effects{}, ErrStale
		}
		if rest = current.archived(rest); len(rest) == 0 {
			return Effects{}, nil
		}
		if len(rest) < len(entries) || current.Owners.Foreign(stream) {
			if gathered, err = gather(ctx, compiled, rest, stream, current.Owners); err != nil {
				return Effects{}, err
			}
		}
		effects, err := gathered.effects(compiled, current)
		if err != nil {
			return Effects{}, err
		}
		effects.Claims = delivery.Claims(rest, stream, current.Owners)
		effects.Mark, effects.LowWater = delivery.MarkAfter(rest), delivery.LowWater(current.LowWater, rest)
		mark, applied = effects.Mark, len(rest)
		return effects, nil
	})
	if err != nil {
		applied = 0
	}
	return mark, applied, err
}

// archived gives those of some entries, which are in stream order, that may be applied.
func (c Current) archived(entries []delivery.Entry) []delivery.Entry {
	if c.Archived == nil {
		return entries
	}
	beyond := slices.IndexFunc(entries, func(e delivery.Entry) bool { return e.Delivery.ID.Compare(*c.Archived) > 0 })
	if beyond < 0 {
		return entries
	}
	return entries[:beyond]
}
