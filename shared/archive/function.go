package archive

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Function archives the deliveries of any number of streams. It keeps nothing between batches, so that any number of
// processes may serve it.
type Function struct {
	store     Store
	retention time.Duration // 0: for ever
	selection selection
	queues    delivery.Queues
}

// NewFunction makes the function over a store. It panics where [Config.Validate] fails.
func NewFunction(cfg Config, store Store) *Function {
	selection, err := cfg.selection()
	if err != nil {
		panic(err)
	}
	return &Function{store: store, retention: cfg.Retention, selection: selection}
}

// Ready tells whether the store can be reached.
func (f *Function) Ready(ctx context.Context) error { return f.store.Ping(ctx) }

// Watermark gives how far the function has archived the stream.
func (f *Function) Watermark(ctx context.Context, stream string) (watermark.Mark, error) {
	return f.store.Watermark(ctx, Name, stream)
}

// Expect says that a batch is on its way, until over is called: the one that follows its last entry waits for that.
func (f *Function) Expect(stream string, last events.ID) (over func()) {
	return f.queues.Of(stream).Expect(last)
}

// Tick makes the partitions that what happens next needs, and drops those that are older than is to be kept. It fails with
// events.ErrInvalid where the tick is for another function.
func (f *Function) Tick(ctx context.Context, tick events.Tick, now time.Time) error {
	if tick.Function != Name {
		return fmt.Errorf("%w: %s %q, want %q", events.ErrInvalid, events.ExtensionFunction, tick.Function, Name)
	}
	if err := f.store.RenewArchivePartitions(ctx, now); err != nil || f.retention == 0 {
		return err
	}
	return f.store.ExpireArchive(ctx, now, f.retention)
}

// Apply archives those deliveries that lie after the watermark, in one transaction with the new watermark. It gives the mark
// that is stored afterwards, also with watermark.ErrGap or watermark.ErrDiverged, and the number of entries that were new.
// A batch is opened while the one before it is under way.
func (f *Function) Apply(ctx context.Context, stream string, batch []events.Delivery) (watermark.Mark, int, error) {
	ctx, done := delivery.Trace(ctx, Name, stream, batch)
	mark, applied, err := f.apply(ctx, stream, batch)
	done(mark, applied, err)
	return mark, applied, err
}

func (f *Function) apply(ctx context.Context, stream string, batch []events.Delivery) (watermark.Mark, int, error) {
	q := f.queues.Of(stream)
	work := &work{stream: stream, batch: batch, selection: f.selection}
	err := q.Take(ctx, batch[0].Predecessor, func() error { return work.read(ctx) })
	if err != nil {
		return watermark.Mark{}, 0, fmt.Errorf("%s: %w", stream, err)
	}
	defer q.Release()
	if err := work.read(ctx); err != nil {
		return watermark.Mark{}, 0, err
	}
	mark, applied, err := f.commit(ctx, work)
	if err == nil {
		q.Reached(mark.ID)
	}
	return mark, applied, err
}

func (f *Function) commit(ctx context.Context, w *work) (mark watermark.Mark, applied int, err error) {
	err = f.store.Archive(ctx, w.request(), func(current Current) (Effects, error) {
		mark = current.Mark
		rest, err := delivery.Remaining(current.Mark, w.opened)
		if err != nil || len(rest) == 0 {
			return Effects{}, err
		}
		effects := w.effects(len(w.opened)-len(rest), current)
		mark, applied = effects.Mark, len(rest)
		return effects, nil
	})
	if err != nil {
		applied = 0
	}
	return mark, applied, err
}

// work is a batch, and what was made of it so far.
type work struct {
	stream    string
	batch     []events.Delivery
	selection selection
	opened    []delivery.Entry // nil: not opened
	entries   []Entry          // what each of them is in the archive
}

// read opens the batch, as far as that was not done. It fails when the context ends.
func (w *work) read(ctx context.Context) error {
	if w.entries != nil {
		return nil
	}
	opened := delivery.Open(w.batch)
	entries := make([]Entry, len(opened))
	for i, e := range opened {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read %d entries of %s: %w", len(opened), w.stream, err)
		}
		var err error
		if entries[i], err = keep(e, w.selection); err != nil {
			return fmt.Errorf("read entry %s of %s: %w", e.Delivery.ID, w.stream, err)
		}
	}
	w.opened, w.entries = opened, entries
	return nil
}

func (w *work) request() Request {
	request := Request{Stream: w.stream, Pairs: delivery.Pairs(w.opened), Times: make([]time.Time, len(w.entries))}
	for i, e := range w.entries {
		request.Times[i] = e.Time
	}
	return request
}

// keep gives what the archive keeps of an entry: all events that are selected.
func keep(e delivery.Entry, selection selection) (Entry, error) {
	d := e.Delivery
	kept := bare(d)
	if e.Verdict != nil {
		return kept, nil //nolint:nilerr // a verdict is no failure: it is kept as a dead letter
	}
	kept.Chain = d.Chain
	if kept.Revert = e.Content.Revert; kept.Revert != nil {
		kept.Height = int64(kept.Revert.Number) //nolint:gosec // a greater one cannot be read
		return kept, nil
	}
	if d.Type == events.TypeBlock {
		kept.Height = int64(e.Content.Events[0].Place.Major) //nolint:gosec // a greater one cannot be read
		kept.ParentHash, kept.LowWater = d.ParentHash, e.LowWater()
	}
	texts := d.Texts()
	for i, event := range e.Content.Events {
		if !selection.keeps(event) {
			continue
		}
		fields, exact, err := events.Storable(texts[i])
		if err != nil {
			return Entry{}, err
		}
		kept.Events = append(kept.Events, Event{Type: event.Type, Ordinal: i, Fields: fields, Exact: exact})
	}
	return kept, nil
}

// bare gives an entry of which nothing can be read.
func bare(d events.Delivery) Entry {
	kept := Entry{ID: d.ID, Time: d.Time, Hash: d.Hash, Height: -1}
	if kept.Time.IsZero() {
		kept.Time = d.Appended
	}
	if !events.Plausible(kept.Time) {
		kept.Time = time.Unix(0, 0).UTC()
	}
	return kept
}

// effects gives what the entries from one on leave behind.
func (w *work) effects(from int, current Current) Effects {
	opened, owners := w.opened[from:], current.Owners
	effects := Effects{
		Claims: delivery.Claims(opened, w.stream, owners), Entries: slices.Clone(w.entries[from:]),
		LeftOut: make(map[delivery.Pair]int64), LowWater: delivery.LowWater(current.LowWater, opened),
	}
	if len(opened) > 0 {
		effects.Mark = delivery.MarkAfter(opened)
	}
	for i, e := range opened {
		if letter, refused := e.Refuse(w.stream, owners); refused {
			effects.DeadLetters = append(effects.DeadLetters, letter)
			effects.Entries[i] = bare(e.Delivery)
			continue
		}
		for _, event := range leftOut(e, effects.Entries[i]) {
			effects.LeftOut[delivery.Pair{Chain: event.Chain, EventType: event.Type}]++
		}
	}
	return effects
}

// leftOut gives the events of an entry that were not kept of it.
func leftOut(e delivery.Entry, kept Entry) []events.Event {
	if len(kept.Events) == len(e.Content.Events) {
		return nil
	}
	var out []events.Event
	next := 0
	for i, event := range e.Content.Events {
		if next < len(kept.Events) && kept.Events[next].Ordinal == i {
			next++
			continue
		}
		out = append(out, event)
	}
	return out
}
