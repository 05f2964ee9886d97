// Package counter is the metric type of sums over a window.
package counter

import (
	"errors"
	"fmt"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// encodingVersion is the first byte of every encoded state.
const encodingVersion = 1

var errEncoding = errors.New("not the encoding of a counter's state")

// Aggregates of a counter.
const (
	aggregateSum      = "sum"
	aggregateCount    = "count"
	aggregateDistinct = "distinct"
)

// Type is the counter metric type: the sum, the count or the count of distinct elements of a window's observations.
// Unlike a counter of Prometheus its value is the window's own, may be negative and never carries over.
type Type struct{}

var _ aggregate.Type = Type{}

// Name is "counter".
func (Type) Name() string { return "counter" }

// Check refuses aggregates that a counter does not have.
func (Type) Check(d metric.Definition) error {
	switch d.Aggregate {
	case aggregateSum, aggregateCount, aggregateDistinct:
		return nil
	default:
		return fmt.Errorf("aggregate %q is none of a counter: write sum, count or distinct", d.Aggregate)
	}
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
