package metric

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// Definition says what to measure. Its JSON form, with these names, is what the registry stores.
type Definition struct {
	Name        string      `json:"name"`
	Type        string      `json:"type"` // the metric type: counter, …
	Description string      `json:"description,omitempty"`
	Unit        string      `json:"unit,omitempty"`
	Calculation Calculation `json:"calculation_logic"`
	Aggregate   string      `json:"aggregate"` // defaults by type: sum for a counter
	// RelativeError bounds how far a quantile may lie from the exact one, as a part of it; zero where there are none.
	RelativeError float64 `json:"relative_error,omitempty"`
	// MaxDimensions is how many sets of dimensions a window of one chain may hold; zero: any number, or there are none.
	MaxDimensions int           `json:"max_dimensions,omitempty"`
	Chains        []string      `json:"chains"`
	BucketSizes   []bucket.Size `json:"bucket_sizes"` // sorted, none twice
	Complexity    string        `json:"complexity"`   // small (default), medium, large
	Schedule
	Alerting
	Checks     []Check  `json:"checks,omitempty"`
	Owner      string   `json:"owner,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	Fill       string   `json:"fill,omitempty"`       // how reading shows windows without events: none (default), zero, previous
	Cumulative bool     `json:"cumulative,omitempty"` // reading accumulates
}

// DecodeDefinition reads the JSON form. It refuses fields that it does not know: a newer version wrote them, and a
// calculation without what they ask for is another one.
func DecodeDefinition(stored []byte) (Definition, error) {
	var d Definition
	decoder := json.NewDecoder(bytes.NewReader(stored))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Definition{}, fmt.Errorf("read definition, which a newer version may have written: %w", err)
	}
	return d, nil
}

// Calculation is where a metric's observations come from: one of these.
type Calculation struct {
	Stream  *Stream  `json:"stream,omitempty"`
	SQL     *SQL     `json:"sql,omitempty"`
	Derived *Derived `json:"derived,omitempty"`
}

// EventTypes are those of the chain events that windows are made of, of which new ones change them; none where the clock or other
// metrics do.
func (c Calculation) EventTypes() []string {
	switch {
	case c.Stream != nil:
		return []string{c.Stream.EventType}
	case c.SQL != nil:
		return c.SQL.EventTypes
	}
	return nil
}

// DimensionNames are the names of a bucket's dimensions, sorted.
func (c Calculation) DimensionNames() []string {
	switch {
	case c.Stream != nil:
		return slices.Sorted(maps.Keys(c.Stream.Dimensions))
	case c.SQL != nil:
		return slices.Sorted(slices.Values(c.SQL.Dimensions))
	case c.Derived != nil:
		return slices.Sorted(slices.Values(c.Derived.Dimensions))
	}
	return nil
}

// Stream takes observations from chain events. Where, Value, Time, Each and the dimensions are CEL expressions.
type Stream struct {
	EventType  string            `json:"event_type"`
	Each       string            `json:"each,omitempty"`  // a list; value and dimensions are evaluated for each element, named "it"
	Where      string            `json:"where,omitempty"` // a missing field makes it false
	Value      string            `json:"value,omitempty"` // default 1 for a counter
	Scale      int               `json:"scale,omitempty"` // power of ten by which the value is multiplied, exactly
	Time       string            `json:"time,omitempty"`  // default: the event's chain time
	Dimensions map[string]string `json:"dimensions,omitempty"`
}

// Observation is what one event, or one element of it, adds to a metric.
type Observation struct {
	Time       time.Time // UTC, truncated to microseconds
	Place      Place     // among the observations of the same time
	Dimensions string    // as in bucket.Key
	Number     decimal.Decimal
	Elements   []string // instead of Number where the aggregate takes elements
}

// Place is where an observation stands among those of the same time.
type Place struct {
	Event   events.ID // events.Event.Place
	Element int       // of each, from 0
}

// Compare is negative where p comes before other, positive where it comes after it.
func (p Place) Compare(other Place) int {
	return cmp.Or(p.Event.Compare(other.Event), cmp.Compare(p.Element, other.Element))
}
