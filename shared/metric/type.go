package metric

import (
	"slices"
	"strconv"
)

// Bounds of the relative error that a definition may ask for.
const (
	minRelativeError = 0.001
	maxRelativeError = 0.1
)

// Type is what definitions of a metric type may ask for.
type Type struct {
	Name          string
	Aggregates    []string // the first is the default
	NeedsValue    bool     // a definition has to say the value, which otherwise is 1
	RelativeError float64  // of quantiles, unless a definition says another; zero where the type estimates none
}

// withDefaults fills in what a definition of the type may leave out.
func (t Type) withDefaults(d Definition) Definition {
	if d.Aggregate == "" {
		d.Aggregate = t.Aggregates[0]
	}
	if d.RelativeError == 0 {
		d.RelativeError = t.RelativeError
	}
	return d
}

// check refuses what the type does not have.
func (t Type) check(c *checker, d Definition) {
	if !slices.Contains(t.Aggregates, d.Aggregate) {
		c.refuse("aggregate", "%.60q is no aggregate of a %s: %s", d.Aggregate, t.Name, instead(d.Aggregate, t.Aggregates))
	}
	if s := d.Calculation.Stream; s != nil && t.NeedsValue && s.Value == "" {
		c.refuse(pathStream+".value", "is missing: write value: event.value, for example")
	}
	switch {
	case t.RelativeError == 0 && d.RelativeError != 0:
		c.refuse("relative_error", "a %s estimates no quantiles: leave it out", t.Name)
	case t.RelativeError != 0 && (d.RelativeError < minRelativeError || d.RelativeError > maxRelativeError):
		c.refuse("relative_error", "%s is no sensible error: write one from %v to %v, such as %v",
			strconv.FormatFloat(d.RelativeError, 'g', -1, 64), minRelativeError, maxRelativeError, t.RelativeError)
	}
}

// typeNamed gives the type of a name, and refuses one that is unknown.
func (c *checker) typeNamed(name string, types []Type) (Type, bool) {
	names := make([]string, len(types))
	for i, t := range types {
		if t.Name == name {
			return t, true
		}
		names[i] = t.Name
	}
	if name != "" { // a missing one is refused with the other fields
		c.refuse("type", "%.60q is no metric type: %s", name, instead(name, names))
	}
	return Type{}, false
}
