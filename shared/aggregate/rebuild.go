package aggregate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	// ErrNotArchived says that the archive does not have all events of the windows. They are never computed from it.
	ErrNotArchived = errors.New("not archived")
	// ErrSuperseded says that another rebuild of one of the windows has begun, that the definition has changed, or that the lease
	// has run out: what was computed is of no use. A new rebuild may succeed.
	ErrSuperseded = errors.New("superseded")
	// ErrArchiveBehind says that the archive has not reached the cut. A new rebuild may succeed later.
	ErrArchiveBehind = errors.New("the archive has not reached what was applied")
)

// Span is consecutive windows of a metric, a bucket size and a chain.
type Span struct {
	Metric   int64
	Size     bucket.Size
	Chain    string
	From, To time.Time // the start of the first window and the end of the last one
	Lease    int64     // of the runs that the span is; 0: of none
}

// windows gives the key of each window, for all dimensions.
func (s Span) windows() []bucket.Key {
	var keys []bucket.Key
	for w := range s.Size.Windows(s.From, s.To) {
		keys = append(keys, bucket.Key{Metric: s.Metric, Size: s.Size, Start: w.Start, Chain: s.Chain})
	}
	return keys
}

// Archive is what rebuilds need of the store.
type Archive interface {
	// BeginRebuild makes the function's watermark on the stream of the span's events the cut of a rebuild of all its windows:
	// from then on the function keeps what the stream brings beside the states. It fails with [ErrNotArchived] and
	// [ErrArchiveBehind].
	BeginRebuild(ctx context.Context, function string, span Span, windows []bucket.Key) (Rebuild, error)
	// Archived gives the events of a rebuild that happened at or after a time and before another, were archived from entries up
	// to its cut, and were not taken back by then. They come in the order of their entries where that is asked for. The fields of
	// an event are no longer its own when each has returned. It fails with [ErrNotArchived].
	Archived(ctx context.Context, rebuild Rebuild, query EventQuery, each func(events.Event, events.ID) error) error
	// Rows gives what the query of a rebuild's metric gives: first its columns, then, window by window in their order, each row with the
	// start of its window, its columns as JSON has them and numbers as [json.Number]. It fails where there are more rows than the
	// definition allows.
	Rows(ctx context.Context, rebuild Rebuild, check func([]metric.Column) error, each func(time.Time, map[string]any) error) error
	// Dependencies gives what the metrics show in the windows of a rebuild on which its metric depends.
	Dependencies(ctx context.Context, rebuild Rebuild) ([]Dependency, error)
	// InstallRebuild locks the watermark's row, reads what is stored of some buckets, calls decide once and stores what it
	// returns. It fails with [ErrSuperseded], also where the rebuild has been finished.
	InstallRebuild(ctx context.Context, rebuild Rebuild, keys []bucket.Key, decide func(Current) ([]Bucket, error)) error
	// AbandonRebuild gives a rebuild up.
	AbandonRebuild(ctx context.Context, rebuild Rebuild) error
	// FinishRebuild does the same with all buckets of the windows that have no part in the rebuild yet. Those that decide does
	// not return are deleted, the rebuild is over, and the runs that it was have succeeded, as the tallies say, which are asked
	// for after decide. Windows that lack nothing become final, unless they fail a check that blocks: failures is asked about each of
	// them, with the buckets that are stored then, and is nil where there are no checks.
	FinishRebuild(ctx context.Context, rebuild Rebuild, decide func(Current) ([]Bucket, error), tallies func() []Tally, failures Failures) error
}

// Failures gives the checks that a window fails, by its buckets.
type Failures func(buckets iter.Seq[metric.CheckedBucket]) []metric.CheckFailure

// Dependency is what a metric shows on which another depends.
type Dependency struct {
	Name       string
	Dimensions []string // the names of its dimensions
	Values     []DependencyValue
}

// DependencyValue is the value of a bucket.
type DependencyValue struct {
	Start      time.Time
	Dimensions map[string]string
	Value      decimal.Decimal
}

// Rebuild is one that has begun.
type Rebuild struct {
	Function         string
	Stream           string // of the events; empty where the windows are made of none: then nothing is merged, and there is no cut
	Span             Span
	Windows          []bucket.Key
	Generation       int64
	Cut              events.ID
	Whole            time.Time // windows that end by this chain time lack nothing at the cut; zero: none is known to
	Version          int       // of the definition
	Definition       metric.Definition
	OldestGeneration int64 // buckets of an older generation were made by another calculation
	// Children are the states, at the cut, of the buckets of a smaller size which together are the span, all of them final; nil:
	// they are not, or there are too many, and events have to be read.
	Children map[bucket.Key][]byte
}

// EventQuery says which events are wanted.
type EventQuery struct {
	EventType string
	From, To  time.Time
	Blocks    bool     // with the fields of their blocks
	Ordered   bool     // by entry
	Fields    []string // the names of the fields that are needed, of events and their blocks; there may be more
	AllFields bool     // any field may be needed
}

// Outcome is what a rebuild has done.
type Outcome struct {
	Windows int
	Events  int64    // that were read
	Joined  bool     // the windows were made of those of a smaller size; Events is 0 then
	Buckets int      // that the windows hold of the events up to the cut
	Changes []Change // of values that are shown, by key
}

// Tally is what a rebuild has found in one window.
type Tally struct {
	Start        time.Time
	Observations *int64 // nil: not counted, where the window was made of smaller ones
	Refused      *int64 // events that could not be counted, and observations without room; nil as above
	Buckets      int    // of events up to the cut
	Changes      int
}

// Change is a bucket whose state was not that of its events.
type Change struct {
	Key         bucket.Key
	Before, Now []byte // states; nil: no bucket
}

// installed is how many buckets are written while the stream waits.
const installed = 1000

// RebuildSpan computes the windows of a span again, from the archived events up to the watermark, and merges what the stream brings
// meanwhile. It changes what was not the state of its events, and says so. It fails with [ErrNotArchived], [ErrSuperseded]
// and [ErrArchiveBehind].
func RebuildSpan(ctx context.Context, kind Type, archive Archive, span Span) (Outcome, error) {
	rebuild, err := archive.BeginRebuild(ctx, kind.Definitions().Name, span, span.windows())
	if err != nil {
		return Outcome{}, fmt.Errorf("begin to rebuild: %w", err)
	}
	r := &rebuilding{
		kind: kind, rebuild: rebuild, base: newObserved(kind, 0), outcome: Outcome{Windows: len(rebuild.Windows)},
	}
	joined, err := r.join()
	if err == nil && !joined {
		err = r.compute(ctx, archive)
	}
	if err == nil {
		err = r.install(ctx, archive)
	}
	if err == nil {
		return r.outcome, nil
	}
	abandoning, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	return Outcome{}, fmt.Errorf("rebuild %s %s: %w", rebuild.Definition.Name, span.Size,
		errors.Join(err, archive.AbandonRebuild(abandoning, rebuild)))
}

// abandonTime is how long giving a rebuild up may take. One that was not is superseded by the next.
const abandonTime = 10 * time.Second

// rebuilding is a rebuild under way.
type rebuilding struct {
	kind    Type
	rebuild Rebuild
	base    *observed
	held    map[bucket.Key]int  // how many buckets of the base each window has
	refused map[time.Time]int64 // by the start of their window
	outcome Outcome
}

// join merges the children, where there are any. It tells whether they say all: they do not where a window has as many sets of
// dimensions as it may hold, of which the first ones count.
func (r *rebuilding) join() (joined bool, err error) {
	definition, span := r.rebuild.Definition, r.rebuild.Span
	sets := make(map[bucket.Key]int)
	for key, encoded := range r.rebuild.Children {
		state, err := r.kind.DecodeState(definition, encoded)
		if err != nil {
			return false, fmt.Errorf("read %s of %s: %w", key.Size, key.Start, err)
		}
		sets[key.AllDimensions()]++
		key.Size, key.Start = span.Size, span.Size.Window(key.Start).Start
		if r.base.buckets[key] == nil {
			sets[key.AllDimensions()]++
		}
		if err := merge(r.base.buckets, key, &gathered{state: state}); err != nil {
			return false, err
		}
	}
	for _, n := range sets {
		if limit := definition.MaxDimensions; limit > 0 && n >= limit {
			r.base = newObserved(r.kind, 0)
			return false, nil
		}
	}
	r.outcome.Joined = r.rebuild.Children != nil
	r.outcome.Buckets = len(r.base.buckets)
	return r.outcome.Joined, nil
}

// compute makes the base of what the definition says.
func (r *rebuilding) compute(ctx context.Context, archive Archive) error {
	definition, span := r.rebuild.Definition, r.rebuild.Span
	code, err := metric.Compile(definition, r.kind.Definitions())
	if err != nil {
		return err
	}
	p := &program{Metric: Metric{ID: span.Metric, Definition: definition}, Program: code, finest: span.Size}
	r.base, r.refused, r.outcome.Events = newObserved(r.kind, 0), make(map[time.Time]int64), 0
	switch {
	case definition.Calculation.SQL != nil:
		err = r.query(ctx, archive, p)
	case definition.Calculation.Derived != nil:
		err = r.derive(ctx, archive, p)
	default:
		err = r.read(ctx, archive, p)
	}
	r.outcome.Buckets = len(r.base.buckets)
	return err
}

// read observes the archived events.
func (r *rebuilding) read(ctx context.Context, archive Archive, p *program) error {
	definition, span, code := r.rebuild.Definition, r.rebuild.Span, p.Program
	query := EventQuery{
		EventType: definition.Calculation.Stream.EventType, From: span.From.Add(-definition.Skew()), To: span.To.Add(definition.Skew()),
		Blocks: code.UsesBlock(),
	}
	query.Fields, query.AllFields = code.Fields()
	if err := r.observe(ctx, archive, p, query); err != nil {
		return err
	}
	if r.overfull() { // read them in order, which takes longer: the first sets count
		query.Ordered = true
		if err := r.observe(ctx, archive, p, query); err != nil {
			return err
		}
		r.limit()
	}
	return nil
}

// observe makes the base of all events of a query.
func (r *rebuilding) observe(ctx context.Context, archive Archive, p *program, query EventQuery) error {
	span := r.rebuild.Span
	r.base, r.refused, r.outcome.Events = newObserved(r.kind, 0), make(map[time.Time]int64), 0
	err := archive.Archived(ctx, r.rebuild, query, func(event events.Event, entry events.ID) error {
		r.outcome.Events++
		if !p.wants(event) || !events.Bucketed(event.Time) {
			return nil
		}
		refused, err := r.base.observe(p, event, entry)
		if refused != nil {
			r.refused[span.Size.Window(event.Time).Start]++
		}
		return err
	})
	maps.DeleteFunc(r.base.buckets, func(key bucket.Key, _ *gathered) bool {
		return key.Start.Before(span.From) || !key.Start.Before(span.To)
	})
	return err
}

// overfull tells whether a window has more sets of dimensions than it may hold.
func (r *rebuilding) overfull() bool {
	most, sets := r.rebuild.Definition.MaxDimensions, make(map[bucket.Key]int)
	for key := range r.base.buckets {
		window := key.AllDimensions()
		if sets[window]++; most > 0 && sets[window] > most {
			return true
		}
	}
	return false
}

// limit leaves in each window as many sets of dimensions as it may hold, in the order in which they were met.
func (r *rebuilding) limit() {
	most := r.rebuild.Definition.MaxDimensions
	for _, keys := range byWindow(slices.SortedFunc(maps.Keys(r.base.buckets), bucket.Key.Compare)) {
		if len(keys) <= most {
			continue
		}
		slices.SortFunc(keys, func(a, b bucket.Key) int { return r.base.buckets[a].first - r.base.buckets[b].first })
		for _, key := range keys[most:] {
			r.refused[key.Start] += r.base.buckets[key].observations
			delete(r.base.buckets, key)
		}
	}
}

// install merges the base into what is stored, some buckets at a time, then deals with those that are stored without a base.
func (r *rebuilding) install(ctx context.Context, archive Archive) error {
	failures, err := r.failures()
	if err != nil {
		return err
	}
	keys := slices.SortedFunc(maps.Keys(r.base.buckets), bucket.Key.Compare)
	r.held = make(map[bucket.Key]int)
	for _, key := range keys {
		r.held[key.AllDimensions()]++
	}
	for some := range slices.Chunk(keys, installed) {
		var changes []Change
		err := archive.InstallRebuild(ctx, r.rebuild, some, func(current Current) (buckets []Bucket, err error) {
			buckets, changes, err = r.merge(some, current)
			return buckets, err
		})
		if err != nil {
			return err
		}
		r.outcome.Changes = append(r.outcome.Changes, changes...)
	}
	return archive.FinishRebuild(ctx, r.rebuild, func(current Current) (buckets []Bucket, err error) {
		left := slices.SortedFunc(maps.Keys(current.States), bucket.Key.Compare)
		if err := r.refuse(left, current); err != nil {
			return nil, err
		}
		buckets, changes, err := r.merge(left, current)
		r.outcome.Changes = append(r.outcome.Changes, changes...)
		return buckets, err
	}, r.tallies, failures)
}

// failures gives what tells which checks a window fails; nil where there are none.
func (r *rebuilding) failures() (Failures, error) {
	if len(r.rebuild.Definition.Checks) == 0 {
		return nil, nil //nolint:nilnil // no checks
	}
	checks, err := metric.CompileChecks(r.rebuild.Definition)
	if err != nil {
		return nil, err
	}
	return checks.Failures, nil
}

// refuse forgets what the stream has brought of sets of dimensions for which there is no room beside those of the base. Where there
// is room for some of them, it fails with [ErrSuperseded]: only another rebuild can tell which were the first.
func (r *rebuilding) refuse(left []bucket.Key, current Current) error {
	limit := r.rebuild.Definition.MaxDimensions
	if limit == 0 {
		return nil
	}
	for window, keys := range byWindow(left) {
		var more []bucket.Key
		for _, key := range keys {
			if current.Parts[key].NextGeneration == r.rebuild.Generation {
				more = append(more, key)
			}
		}
		switch room := limit - r.held[window]; {
		case len(more) <= room:
		case room > 0:
			return fmt.Errorf("%w: more sets of dimensions have come than a window holds", ErrSuperseded)
		default:
			for _, key := range more {
				delete(current.Parts, key)
			}
		}
	}
	return nil
}

// tallies gives what was found in each window.
func (r *rebuilding) tallies() []Tally {
	place := make(map[time.Time]int, len(r.rebuild.Windows))
	all := make([]Tally, len(r.rebuild.Windows))
	for i, window := range r.rebuild.Windows {
		all[i].Start, place[window.Start] = window.Start, i
		if !r.outcome.Joined {
			all[i].Observations, all[i].Refused = new(int64), new(r.refused[window.Start])
		}
	}
	for key, b := range r.base.buckets {
		tally := &all[place[key.Start]]
		if !r.outcome.Joined {
			*tally.Observations += b.observations
		}
		tally.Buckets++
	}
	for _, change := range r.outcome.Changes {
		all[place[change.Key.Start]].Changes++
	}
	return all
}

// merge gives the buckets of keys as they are to be: the base with what the stream has brought since the cut.
func (r *rebuilding) merge(keys []bucket.Key, current Current) (buckets []Bucket, changes []Change, err error) {
	definition := r.rebuild.Definition
	for _, key := range keys {
		state := r.kind.NewState(definition)
		holds := false
		if base := r.base.buckets[key]; base != nil {
			holds = true
			if err := state.Merge(base.state); err != nil {
				return nil, nil, err
			}
		}
		part := current.Parts[key]
		if part.NextGeneration == r.rebuild.Generation {
			holds = true
			next, err := r.kind.DecodeState(definition, part.Next)
			if err != nil {
				return nil, nil, err
			}
			if err := state.Merge(next); err != nil {
				return nil, nil, err
			}
		}
		before, stored := current.States[key]
		var now []byte
		if holds {
			now = state.Encode()
			value, detail := state.Value()
			buckets = append(buckets, Bucket{Key: key, New: !stored, State: now, Value: value, Detail: detail})
		}
		if outdated := stored && part.Generation < r.rebuild.OldestGeneration; outdated {
			continue
		}
		if full := definition.MaxDimensions > 0 && r.held[key.AllDimensions()] >= definition.MaxDimensions; full && !holds {
			continue // the stream had let it in while a rebuild was under way
		}
		if stored != holds || !bytes.Equal(before, now) {
			changes = append(changes, Change{Key: key, Before: before, Now: now})
			if holds {
				buckets[len(buckets)-1].Changed = true
			}
		}
	}
	return buckets, changes, nil
}
