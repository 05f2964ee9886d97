// Package counter is the metric type of sums over a window.
package counter

import (
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// encodingVersion is the first byte of every encoded state.
const encodingVersion = 1

// Aggregates of a counter.
const (
	aggregateSum      = "sum"      // of the values
	aggregateCount    = "count"    // of the observations
	aggregateDistinct = "distinct" // the number of different elements
)

// Type is the counter metric type: the sum, the count or the count of distinct elements of a window's observations.
// Unlike a counter of Prometheus its value is the window's own, may be negative and never carries over.
type Type struct{}

var _ aggregate.Type = Type{}

// Definitions is what a counter offers: sum, count and distinct.
func (Type) Definitions() metric.Type {
	return metric.Type{Name: "counter", Aggregates: []metric.Aggregate{
		{Name: aggregateSum, Takes: metric.Number, Additive: true},
		{Name: aggregateCount, Takes: metric.Nothing, Additive: true},
		{Name: aggregateDistinct, Takes: metric.Elements, Detail: []string{"relative_error"}},
	}}
}

// NewState gives the empty state of the definition's aggregate.
func (Type) NewState(d metric.Definition) aggregate.State {
	if d.Aggregate == aggregateDistinct {
		return newDistinct()
	}
	return &sum{counting: d.Aggregate == aggregateCount}
}

// DecodeState reads an encoded state of the definition's aggregate.
func (Type) DecodeState(d metric.Definition, encoded []byte) (aggregate.State, error) {
	if d.Aggregate == aggregateDistinct {
		return decodeDistinct(encoded)
	}
	return decodeSum(encoded, d.Aggregate == aggregateCount)
}
