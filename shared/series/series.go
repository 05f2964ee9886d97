// Package series reads a metric's buckets as time series.
package series

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// Bucket is a stored bucket.
type Bucket struct {
	Chain      string
	Window     bucket.Window
	Dimensions map[string]string
	Value      decimal.Decimal
	Detail     json.RawMessage // JSON object or nil
	Final      bool            // confirmed by the batch layer
}

// Series is what a metric shows of one chain and set of dimensions.
type Series struct {
	Chain      string
	Dimensions map[string]string
	Points     []Point // in time order, no window twice
}

// Point is one window of a series.
type Point struct {
	Window bucket.Window
	Value  decimal.Decimal
	Detail json.RawMessage // of the bucket; nil in running totals and of levels that still stand, which have none
	Final  bool            // of a running total: every bucket in it is final
	Filled bool            // no bucket is stored for this window; never final
}

// Build makes series of buckets of one metric and size, ordered by chain and dimensions. The buckets may come in any
// order; they must reach back to [Options.ReadFrom], and further where [Options.ReadBefore] says so. Filling goes from the options' range where that is closed, and as
// far as the chain has buckets where it is open. In a running total a window without a bucket adds nothing, so both
// ways of filling repeat the total; they differ before the first bucket, where only [Zero] shows 0.
//
// It fails with [ErrTooLong], where a running total leaves the range of decimals, and where a bucket has no level that is
// to be shown.
func Build(options Options, buckets []Bucket) ([]Series, error) {
	groups, err := group(buckets)
	if err != nil {
		return nil, err
	}
	var (
		all   = make([]Series, 0, len(groups))
		spans = chainSpans(buckets)
		count int
	)
	for _, g := range groups {
		if options.Cumulative {
			if err := accumulate(g.buckets); err != nil {
				return nil, fmt.Errorf("running total of %s %s: %w", g.chain, g.dimensions, err)
			}
		}
		var points []Point
		if options.filled() {
			points, err = fill(options, g.buckets, spans[g.chain], MaxPoints-count)
			if err != nil {
				return nil, err
			}
		} else {
			points = stored(options, g.buckets)
		}
		if len(points) == 0 {
			continue
		}
		count += len(points)
		all = append(all, Series{Chain: g.chain, Dimensions: g.buckets[0].Dimensions, Points: points})
	}
	return all, nil
}

type seriesBuckets struct {
	chain      string
	dimensions string // canonical JSON
	buckets    []Bucket
}

// group sorts buckets into series, and each series by time.
func group(buckets []Bucket) ([]*seriesBuckets, error) {
	type key struct{ chain, dimensions string }
	groups := make(map[key]*seriesBuckets)
	for _, b := range buckets {
		dimensions := []byte("{}")
		if len(b.Dimensions) > 0 {
			var err error
			if dimensions, err = json.Marshal(b.Dimensions); err != nil { // sorts the names
				return nil, fmt.Errorf("read dimensions: %w", err)
			}
		}
		k := key{b.Chain, string(dimensions)}
		g, ok := groups[k]
		if !ok {
			g = &seriesBuckets{chain: k.chain, dimensions: k.dimensions}
			groups[k] = g
		}
		g.buckets = append(g.buckets, b)
	}
	sorted := make([]*seriesBuckets, 0, len(groups))
	for _, g := range groups {
		slices.SortFunc(g.buckets, func(a, b Bucket) int { return a.Window.Start.Compare(b.Window.Start) })
		sorted = append(sorted, g)
	}
	slices.SortFunc(sorted, func(a, b *seriesBuckets) int {
		return cmp.Or(cmp.Compare(a.chain, b.chain), cmp.Compare(a.dimensions, b.dimensions))
	})
	return sorted, nil
}

// chainSpans gives the time that each chain's buckets cover, over all sets of dimensions.
func chainSpans(buckets []Bucket) map[string]bucket.Window {
	spans := make(map[string]bucket.Window)
	for _, b := range buckets {
		span, ok := spans[b.Chain]
		if !ok {
			span = b.Window
		}
		if b.Window.Start.Before(span.Start) {
			span.Start = b.Window.Start
		}
		if b.Window.End.After(span.End) {
			span.End = b.Window.End
		}
		spans[b.Chain] = span
	}
	return spans
}

// accumulate turns buckets in time order into running totals.
func accumulate(buckets []Bucket) error {
	var (
		total decimal.Decimal
		final = true
		err   error
	)
	for i := range buckets {
		if total, err = total.Add(buckets[i].Value); err != nil {
			return fmt.Errorf("add %s: %w", buckets[i].Window.Start.Format(time.RFC3339), err)
		}
		final = final && buckets[i].Final
		buckets[i].Value, buckets[i].Final, buckets[i].Detail = total, final, nil
	}
	return nil
}

// stored gives a point for each bucket in the range.
func stored(options Options, buckets []Bucket) []Point {
	var points []Point
	for _, b := range buckets {
		if options.holds(b.Window) {
			points = append(points, pointOf(b))
		}
	}
	return points
}

// fill gives a point for each window in the range that has a bucket or something to be filled with.
func fill(options Options, buckets []Bucket, span bucket.Window, limit int) ([]Point, error) {
	from, to := options.From, options.To
	if from.IsZero() {
		from = span.Start
	}
	if first := buckets[0].Window.Start; options.Fill == Previous && from.Before(first) {
		from = first // nothing is shown before it
	}
	if to.IsZero() {
		to = span.End
	}
	var (
		points []Point
		before *Bucket // the last so far
		left   *Point  // what it leaves behind; nil until that is asked for
	)
	for window := range options.Size.Windows(from, to) {
		for len(buckets) > 0 && buckets[0].Window.Start.Before(window.Start) {
			before, left = &buckets[0], nil
			buckets = buckets[1:]
		}
		if window.Start.Before(from) {
			continue
		}
		var point Point
		switch {
		case len(buckets) > 0 && buckets[0].Window.Start.Equal(window.Start):
			point = pointOf(buckets[0])
		case before != nil && (options.Fill == Previous || options.Cumulative):
			if left == nil {
				var err error
				if left, err = options.leftBy(*before); err != nil {
					return nil, err
				}
			}
			point = *left
		case options.Fill == Zero:
			point = Point{Filled: true}
		default:
			continue
		}
		if len(points) == limit {
			return nil, fmt.Errorf("%w: more than %d, ask for a shorter range or larger buckets", ErrTooLong, MaxPoints)
		}
		point.Window = window
		points = append(points, point)
	}
	return points, nil
}

// leftBy gives what a bucket leaves behind for the windows after it.
func (o Options) leftBy(b Bucket) (*Point, error) {
	if o.Level == "" || o.Cumulative {
		return &Point{Value: b.Value, Detail: b.Detail, Filled: true}, nil
	}
	var detail map[string]json.RawMessage
	err := json.Unmarshal(b.Detail, &detail)
	if err == nil {
		var level decimal.Decimal
		if level, err = decimal.Parse(string(detail[o.Level])); err == nil {
			return &Point{Value: level, Filled: true}, nil
		}
	}
	return nil, fmt.Errorf("read %s of the bucket of %s: %w", o.Level, b.Window.Start.Format(time.RFC3339), err)
}

func pointOf(b Bucket) Point {
	return Point{Window: b.Window, Value: b.Value, Detail: b.Detail, Final: b.Final}
}
