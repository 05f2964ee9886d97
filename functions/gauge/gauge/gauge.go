// Package gauge is the metric type of a level that is read again and again: its first, last, least, greatest, average
// reading of a window.
package gauge

import (
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// Aggregates of a gauge. The state holds all of them, so that value_json shows each, whichever is the value.
const (
	last  = "last"
	first = "first"
	least = "min"
	most  = "max"
	mean  = "avg"
)

// Type is the gauge metric type. First and last are by time, then by block and index of the event (its entry's id outside
// of blocks), then by place in the list of each.
type Type struct{}

var _ aggregate.Type = Type{}

// Definitions is what a gauge offers: last, first, min, max and avg of the values.
func (Type) Definitions() metric.Type {
	return metric.Type{Name: "gauge", Aggregates: []string{last, first, least, most, mean}, NeedsValue: true}
}

// NewState gives the empty state.
func (Type) NewState(d metric.Definition) aggregate.State { return &state{shows: d.Aggregate} }

// DecodeState reads an encoded state, which is the same for every aggregate.
func (Type) DecodeState(d metric.Definition, encoded []byte) (aggregate.State, error) {
	return decode(encoded, d.Aggregate)
}
