package aggregate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// entry is a delivery, opened.
type entry struct {
	delivery events.Delivery
	content  events.Content
	verdict  error // why there is no content
}

func open(batch []events.Delivery) []entry {
	entries := make([]entry, len(batch))
	for i, d := range batch {
		content, err := d.Open()
		entries[i] = entry{delivery: d, content: content, verdict: err}
	}
	return entries
}

// pairs gives the chains and event types that the entries hold, each once.
func pairs(entries []entry) []Pair {
	held := make(map[Pair]struct{})
	for _, e := range entries {
		for _, event := range e.content.Events {
			held[Pair{Chain: event.Chain, EventType: event.Type}] = struct{}{}
		}
	}
	return slices.SortedFunc(maps.Keys(held), Pair.Compare)
}

// claims gives the pairs of readable entries that no stream owns yet.
func claims(entries []entry, stream string, owners map[Pair]string) []Pair {
	readable := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return unreadable(e, stream, owners) != "" })
	return slices.DeleteFunc(pairs(readable), func(p Pair) bool {
		_, owned := owners[p]
		return owned
	})
}

// gathering is what a sequence of entries adds to the store.
type gathering struct {
	states  map[bucket.Key]State
	letters []DeadLetter
	errors  map[failure]*MetricError
	reverts []PendingRevert
	sorted  []bucket.Key // of states, once they were asked for
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
	ctx context.Context, compiled *programs, entries []entry, stream string, owners map[Pair]string,
) (*gathering, error) {
	g := &gathering{states: make(map[bucket.Key]State), errors: make(map[failure]*MetricError)}
	base := make(map[bucket.Key]State)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("gather %d entries of %s: %w", len(entries), stream, err)
		}
		if reason := unreadable(e, stream, owners); reason != "" {
			g.letters = append(g.letters, DeadLetter{ID: e.delivery.ID, Reason: reason, Content: e.delivery.Data})
			continue
		}
		if e.content.Revert != nil {
			g.reverts = append(g.reverts, PendingRevert{ID: e.delivery.ID, Revert: *e.content.Revert})
		}
		for _, event := range e.content.Events {
			for _, p := range compiled.byEvent[event.Type] {
				if !p.wants(event) || !events.Bucketed(event.Time) {
					continue
				}
				refused, err := observe(base, compiled.kind, p, event)
				if err != nil {
					return nil, fmt.Errorf("gather %s: %w", p.Definition.Name, err)
				}
				if refused != nil {
					g.fail(p.ID, refused.Error(), e.delivery.ID)
				}
			}
		}
	}
	return g, g.rollUp(compiled, base)
}

func unreadable(e entry, stream string, owners map[Pair]string) string {
	if e.verdict != nil {
		return e.verdict.Error()
	}
	for _, event := range e.content.Events {
		owner, known := owners[Pair{Chain: event.Chain, EventType: event.Type}]
		if known && owner != stream {
			return fmt.Sprintf("events %q of chain %q belong to stream %s", event.Type, event.Chain, owner)
		}
	}
	return ""
}

// observe adds an event to the metric's finest windows: all its observations or, where one is refused, none.
func observe(base map[bucket.Key]State, kind Type, p *program, event events.Event) (refused, err error) {
	observations, refused := p.Observe(event)
	if refused != nil {
		return refused, nil
	}
	if len(observations) == 1 {
		return add(base, kind, p, event.Chain, observations[0]), nil
	}
	added := make(map[bucket.Key]State, 1)
	for _, o := range observations {
		if refused := add(added, kind, p, event.Chain, o); refused != nil {
			return refused, nil
		}
	}
	return nil, mergeAll(base, added)
}

// add adds an observation to the state of its window or, where it is refused, changes nothing.
func add(states map[bucket.Key]State, kind Type, p *program, chain string, o metric.Observation) error {
	if !events.Bucketed(o.Time) {
		return nil
	}
	key := bucket.Key{
		Metric:     p.ID,
		Size:       p.finest,
		Start:      p.finest.Window(o.Time).Start,
		Chain:      chain,
		Dimensions: o.Dimensions,
	}
	state := states[key]
	if state != nil {
		return state.Observe(o)
	}
	state = kind.NewState(p.Definition)
	if err := state.Observe(o); err != nil {
		return err
	}
	states[key] = state
	return nil
}

// rollUp merges the states of the finest windows into those of every bucket size of their metric.
func (g *gathering) rollUp(compiled *programs, base map[bucket.Key]State) error {
	for key, state := range base {
		p := compiled.metrics[key.Metric]
		for _, size := range p.Definition.BucketSizes {
			wider := key
			wider.Size, wider.Start = size, size.Window(key.Start).Start
			if g.states[wider] == nil {
				g.states[wider] = compiled.kind.NewState(p.Definition)
			}
			if err := g.states[wider].Merge(state); err != nil {
				return fmt.Errorf("merge %s of %s: %w", size, p.Definition.Name, err)
			}
		}
	}
	return nil
}

func (g *gathering) fail(metricID int64, reason string, sample events.ID) {
	key := failure{metric: metricID, reason: reason}
	if g.errors[key] == nil {
		g.errors[key] = &MetricError{Metric: metricID, Reason: reason}
	}
	g.errors[key].Count++
	g.errors[key].Sample = sample // entries come in order: the newest stays
}

// keys gives the buckets that the entries touch, in lock order. Everything was gathered before.
func (g *gathering) keys() []bucket.Key {
	if g.sorted == nil {
		g.sorted = slices.SortedFunc(maps.Keys(g.states), bucket.Key.Compare)
	}
	return g.sorted
}

// effects merges what is stored into what was gathered.
func (g *gathering) effects(compiled *programs, stored map[bucket.Key][]byte) (Effects, error) {
	effects := Effects{DeadLetters: g.letters, Reverts: g.reverts}
	for _, key := range g.keys() {
		state := g.states[key]
		if encoded, ok := stored[key]; ok {
			before, err := compiled.kind.DecodeState(compiled.metrics[key.Metric].Definition, encoded)
			if err == nil {
				err = state.Merge(before)
			}
			if err != nil {
				return Effects{}, fmt.Errorf("merge stored %s %s of %s: %w",
					key.Size, key.Start, compiled.metrics[key.Metric].Definition.Name, err)
			}
		}
		value, detail := state.Value()
		effects.Buckets = append(effects.Buckets, Bucket{Key: key, State: state.Encode(), Value: value, Detail: detail})
	}
	for _, key := range slices.SortedFunc(maps.Keys(g.errors), failure.compare) {
		effects.MetricErrors = append(effects.MetricErrors, *g.errors[key])
	}
	return effects, nil
}

func mergeAll(into, from map[bucket.Key]State) error {
	for key, state := range from {
		if into[key] == nil {
			into[key] = state
		} else if err := into[key].Merge(state); err != nil {
			return err
		}
	}
	return nil
}
