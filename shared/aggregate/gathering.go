package aggregate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// work is a batch, and what was made of it so far.
type work struct {
	stream   string
	batch    []events.Delivery
	entries  []delivery.Entry // nil: not opened
	by       *programs
	gathered *gathering // under the programs; nil: not evaluated
}

// evaluate opens the whole batch and gathers it under the programs, as far as that was not done. It fails when the context
// ends.
func (w *work) evaluate(ctx context.Context, by *programs) (err error) {
	if w.entries == nil {
		w.entries = delivery.Open(w.batch)
	}
	if w.by == by {
		return nil
	}
	w.by = nil
	if w.gathered, err = gather(ctx, by, w.entries, w.stream, nil); err == nil {
		w.by = by
	}
	return err
}

// gathering is what a sequence of entries adds to the store.
type gathering struct {
	buckets map[bucket.Key]*gathered
	letters []delivery.DeadLetter
	errors  map[failure]*MetricError
	reverts []PendingRevert
	keys    []bucket.Key // of the buckets, in lock order
	// queried are the windows, for all dimensions, of queries that read some of the events.
	queried map[bucket.Key]struct{}
}

// gathered is what a sequence of entries adds to a bucket.
type gathered struct {
	state        State
	first        int // its place among the buckets, in the order in which they were met
	observations int64
	newest       events.ID // the last entry with one of the observations
}

func (g *gathered) merge(other *gathered) error {
	g.first = min(g.first, other.first)
	g.observations += other.observations
	if other.newest.Compare(g.newest) > 0 {
		g.newest = other.newest
	}
	return g.state.Merge(other.state)
}

type failure struct {
	metric int64
	reason string
}

func (f failure) compare(other failure) int {
	return cmp.Or(cmp.Compare(f.metric, other.metric), cmp.Compare(f.reason, other.reason))
}

// gather evaluates the entries under the programs. An entry with an event whose pair belongs to another stream becomes a
// dead letter as a whole. It fails when the context ends.
func gather(
	ctx context.Context, compiled *programs, entries []delivery.Entry, stream string, owners delivery.Owners,
) (*gathering, error) {
	g := &gathering{
		buckets: make(map[bucket.Key]*gathered), errors: make(map[failure]*MetricError), queried: make(map[bucket.Key]struct{}),
	}
	base := newObserved(compiled.kind, 0)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("gather %d entries of %s: %w", len(entries), stream, err)
		}
		if letter, refused := e.Refuse(stream, owners); refused {
			g.letters = append(g.letters, letter)
			continue
		}
		if e.Content.Revert != nil {
			g.reverts = append(g.reverts, PendingRevert{ID: e.Delivery.ID, Revert: *e.Content.Revert})
		}
		for _, event := range e.Content.Events {
			g.query(compiled.queries[event.Type], event)
			for _, p := range compiled.byEvent[event.Type] {
				if !p.wants(event) || !events.Bucketed(event.Time) {
					continue
				}
				refused, err := base.observe(p, event, e.Delivery.ID)
				if err != nil {
					return nil, fmt.Errorf("gather %s: %w", p.Definition.Name, err)
				}
				if refused != nil {
					g.fail(failure{metric: p.ID, reason: refused.Error()}, 1, e.Delivery.ID)
				}
			}
		}
	}
	if err := g.rollUp(compiled, base); err != nil {
		return nil, err
	}
	g.keys = slices.SortedFunc(maps.Keys(g.buckets), bucket.Key.Compare)
	return g, nil
}

// query notes the windows of queries into which an event falls.
func (g *gathering) query(queries []*program, event events.Event) {
	for _, p := range queries {
		if !p.wants(event) || !events.Bucketed(event.Time) {
			continue
		}
		for _, size := range p.Definition.BucketSizes {
			window := bucket.Key{Metric: p.ID, Size: size, Start: size.Window(event.Time).Start, Chain: event.Chain}
			g.queried[window] = struct{}{}
		}
	}
}

// late tells whether everything was once taken to have come of a window.
func (c Current) late(window bucket.Key) bool {
	return !window.Size.Window(window.Start).End.After(c.HighestLowWater)
}

// observed holds what was observed, in the finest windows of each metric.
type observed struct {
	kind    Type
	buckets map[bucket.Key]*gathered
	met     int                  // how many buckets were met so far
	space   []metric.Observation // for those of one event after the other
}

func newObserved(kind Type, met int) *observed {
	return &observed{kind: kind, buckets: make(map[bucket.Key]*gathered), met: met}
}

// observe adds an event of an entry: all its observations or, where one is refused, none.
func (o *observed) observe(p *program, event events.Event, entry events.ID) (refused, err error) {
	observations, refused := p.Observe(o.space[:0], event)
	o.space = observations
	if refused != nil {
		return refused, nil
	}
	if len(observations) == 1 {
		return o.add(p, event.Chain, entry, observations[0]), nil
	}
	added := newObserved(o.kind, o.met)
	for _, observation := range observations {
		if refused := added.add(p, event.Chain, entry, observation); refused != nil {
			return refused, nil
		}
	}
	o.met = added.met
	for key, more := range added.buckets {
		if err := merge(o.buckets, key, more); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// add adds an observation to its window or, where it is refused, changes nothing.
func (o *observed) add(p *program, chain string, entry events.ID, observation metric.Observation) error {
	if !events.Bucketed(observation.Time) {
		return nil
	}
	key := bucket.Key{
		Metric:     p.ID,
		Size:       p.finest,
		Start:      p.finest.Window(observation.Time).Start,
		Chain:      chain,
		Dimensions: observation.Dimensions,
	}
	b := o.buckets[key]
	if b == nil {
		b = &gathered{state: o.kind.NewState(p.Definition), first: o.met}
	}
	if err := b.state.Observe(observation); err != nil {
		return err
	}
	if b.observations == 0 {
		o.buckets[key] = b
		o.met++
	}
	b.observations++
	b.newest = entry
	return nil
}

// rollUp merges the finest windows into those of every bucket size of their metric.
func (g *gathering) rollUp(compiled *programs, base *observed) error {
	for key, finest := range base.buckets {
		p := compiled.metrics[key.Metric]
		for _, size := range p.Definition.BucketSizes {
			wider := key
			wider.Size, wider.Start = size, size.Window(key.Start).Start
			if g.buckets[wider] == nil {
				g.buckets[wider] = &gathered{state: compiled.kind.NewState(p.Definition), first: finest.first}
			}
			if err := g.buckets[wider].merge(finest); err != nil {
				return fmt.Errorf("merge %s of %s: %w", size, p.Definition.Name, err)
			}
		}
	}
	return nil
}

// merge adds to the bucket of a key.
func merge(buckets map[bucket.Key]*gathered, key bucket.Key, more *gathered) error {
	if buckets[key] == nil {
		buckets[key] = more
		return nil
	}
	return buckets[key].merge(more)
}

// fail counts what could not be counted, in entries up to the newest.
func (g *gathering) fail(kind failure, count int64, newest events.ID) {
	if g.errors[kind] == nil {
		g.errors[kind] = &MetricError{Metric: kind.metric, Reason: kind.reason}
	}
	g.errors[kind].Count += count
	if newest.Compare(g.errors[kind].Sample) > 0 {
		g.errors[kind].Sample = newest
	}
}

// effects merges what is stored into what was gathered. It must be called once.
func (g *gathering) effects(compiled *programs, current Current) (effects Effects, err error) {
	effects = Effects{DeadLetters: g.letters, Reverts: g.reverts}
	for window, keys := range byWindow(g.keys) {
		m := compiled.metrics[window.Metric].Metric
		definition := m.Definition
		if current.late(window) {
			effects.Late = append(effects.Late, window)
		}
		if limit := definition.MaxDimensions; limit > 0 {
			if compiled.rebuilding[window] != 0 {
				limit *= 2 // as many as it may hold again, beside those of which the rebuild may leave nothing: that will decide
			}
			sets := current.Sets[window]
			var more int
			if keys, more = g.admit(window, keys, current.States, limit, sets.Count); more > 0 || sets.Forgot {
				effects.Sets = append(effects.Sets, WindowSets{Window: window, Count: sets.Count + more})
			}
		}
		for _, key := range keys {
			state := g.buckets[key].state
			encoded, stored := current.States[key]
			part := current.Parts[key]
			outdated := stored && part.Generation < m.OldestGeneration
			var next []byte
			generation := compiled.rebuilding[window]
			if outdated {
				generation = max(generation, m.OldestGeneration)
			}
			if part.Generation == generation {
				generation = 0 // the rebuild has merged its base into this one
			} else if generation != 0 {
				if next, err = since(compiled.kind, definition, state, part, generation); err != nil {
					return Effects{}, fmt.Errorf("merge %s %s of %s: %w", key.Size, key.Start, definition.Name, err)
				}
			}
			if outdated {
				effects.Buckets = append(effects.Buckets, Bucket{Key: key, Outdated: true, Next: next, NextGeneration: generation})
				continue
			}
			if stored {
				before, err := compiled.kind.DecodeState(definition, encoded)
				if err == nil {
					err = state.Merge(before)
				}
				if err != nil {
					return Effects{}, fmt.Errorf("merge stored %s %s of %s: %w", key.Size, key.Start, definition.Name, err)
				}
			}
			value, detail := state.Value()
			effects.Buckets = append(effects.Buckets, Bucket{
				Key: key, New: !stored, Generation: m.OldestGeneration, State: state.Encode(), Value: value, Detail: detail,
				Next: next, NextGeneration: generation,
			})
		}
	}
	for _, window := range slices.SortedFunc(maps.Keys(g.queried), bucket.Key.Compare) {
		if current.late(window) {
			effects.Late = append(effects.Late, window)
		}
	}
	for _, kind := range slices.SortedFunc(maps.Keys(g.errors), failure.compare) {
		effects.MetricErrors = append(effects.MetricErrors, *g.errors[kind])
	}
	return effects, nil
}

// since gives what the stream has brought since the cut of a rebuild, with what it brings now.
func since(kind Type, definition metric.Definition, now State, part Part, generation int64) ([]byte, error) {
	all := kind.NewState(definition)
	if err := all.Merge(now); err != nil {
		return nil, err
	}
	if part.NextGeneration == generation {
		before, err := kind.DecodeState(definition, part.Next)
		if err != nil {
			return nil, err
		}
		if err := all.Merge(before); err != nil {
			return nil, err
		}
	}
	return all.Encode(), nil
}
