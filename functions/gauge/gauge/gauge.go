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

// readings is the name in value_json of how many there were.
const readings = "count"

// Type is the gauge metric type. First and last are by time, then by block and index of the event (its entry's id outside
// of blocks), then by place in the list of each.
type Type struct{}

var _ aggregate.Type = Type{}

// Definitions is what a gauge offers: last, first, min, max and avg of the values. The last reading stands until the next.
func (Type) Definitions() metric.Type {
	t := metric.Type{Name: "gauge", NeedsValue: true, Level: last}
	for _, name := range []string{last, first, least, most, mean} {
		t.Aggregates = append(t.Aggregates, metric.Aggregate{
			Name: name, Takes: metric.Number, Detail: []string{first, last, least, most, mean, readings},
		})
	}
	return t
}

// NewState gives the empty state.
func (Type) NewState(d metric.Definition) aggregate.State { return &state{shows: d.Aggregate} }

// DecodeState reads an encoded state, which is the same for every aggregate.
func (Type) DecodeState(d metric.Definition, encoded []byte) (aggregate.State, error) {
	return decode(encoded, d.Aggregate)
}
