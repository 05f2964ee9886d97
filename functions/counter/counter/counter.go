// Package counter is the metric type of sums over a window.
package counter

import (
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// encodingVersion is the first byte of every encoded state.
const encodingVersion = 1

// Type is the counter metric type: the sum, the count or the count of distinct elements of a window's observations.
// Unlike a counter of Prometheus its value is the window's own, may be negative and never carries over.
type Type struct{}

var _ aggregate.Type = Type{}

// Definitions is what a counter offers: sum, count and distinct.
func (Type) Definitions() metric.Type {
	return metric.Type{Name: "counter", Aggregates: []string{metric.Sum, metric.Count, metric.Distinct}}
}

// NewState gives the empty state of the definition's aggregate.
func (Type) NewState(d metric.Definition) aggregate.State {
	if d.Aggregate == metric.Distinct {
		return newDistinct()
	}
	return &sum{counting: d.Aggregate == metric.Count}
}

// DecodeState reads an encoded state of the definition's aggregate.
func (Type) DecodeState(d metric.Definition, encoded []byte) (aggregate.State, error) {
	if d.Aggregate == metric.Distinct {
		return decodeDistinct(encoded)
	}
	return decodeSum(encoded, d.Aggregate == metric.Count)
}
