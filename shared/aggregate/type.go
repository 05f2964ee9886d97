// Package aggregate turns deliveries into the states of buckets.
package aggregate

import (
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// Type is a metric type: it says how observations become a state, and a state becomes a value.
type Type interface {
	// Definitions is what definitions of the type may ask for. Its name is also the name of the type's function.
	Definitions() metric.Type
	// NewState gives the empty state for a definition of the type.
	NewState(metric.Definition) State
	// DecodeState reads what State.Encode wrote, by this version of the code or an older one.
	DecodeState(metric.Definition, []byte) (State, error)
}

// State is the mergeable aggregate behind a bucket's value. Merging is associative and commutative: however observations
// are split over states, the merged state, its encoding and its value are the same.
type State interface {
	// Observe adds one observation. Where it fails the state is unchanged.
	Observe(metric.Observation) error
	// Merge adds another state of the same definition. What Observe accepts can always be merged: an error means a state that
	// does not fit, and stops the stream.
	Merge(State) error
	// Encode gives the canonical, versioned binary form: equal states have equal encodings.
	Encode() []byte
	// Value is what is shown; detail is a JSON object, or nil where the type has nothing to add.
	Value() (value decimal.Decimal, detail []byte)
}
