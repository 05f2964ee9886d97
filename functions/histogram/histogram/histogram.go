// Package histogram is the metric type of distributions: count, sum, spread and quantiles of a window's values.
package histogram

import (
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// Type is the histogram metric type. Count, sum, mean, standard deviation, least and greatest value are exact; quantiles
// lie within the definition's relative error of the exact ones.
type Type struct{}

var _ aggregate.Type = Type{}

// Definitions is what a histogram offers: a sketch of the values, by default with quantiles to one percent.
func (Type) Definitions() metric.Type {
	return metric.Type{
		Name: "histogram",
		Aggregates: []metric.Aggregate{{Name: "sketch", Takes: metric.Number, Detail: []string{
			"count", "sum", "mean", "stddev", "min", "max", "p25", "p50", "p75", "p90", "p95", "p99", "relative_error",
		}}},
		NeedsValue:    true,
		RelativeError: 0.01,
	}
}

// NewState gives the empty state for the definition's relative error.
func (Type) NewState(d metric.Definition) aggregate.State {
	return &state{parts: partsFor(d.RelativeError)}
}

// DecodeState reads a state of the definition's relative error.
func (Type) DecodeState(d metric.Definition, encoded []byte) (aggregate.State, error) {
	return decode(encoded, partsFor(d.RelativeError))
}
