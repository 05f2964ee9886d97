package metric

import (
	"slices"
	"strconv"
	"strings"
)

// Bounds of the relative error that a definition may ask for.
const (
	minRelativeError = 0.001
	maxRelativeError = 0.1
)

// Type is what definitions of a metric type may ask for, and what its buckets are.
type Type struct {
	Name          string
	Aggregates    []Aggregate // the first is the default
	NeedsValue    bool        // a definition has to say a number, which otherwise is 1
	RelativeError float64     // of quantiles, unless a definition says another; zero where the type estimates none
	// Level is the name in value_json of what a window leaves behind until the next one has a bucket; empty where a value
	// is the window's own.
	Level string
}

// Aggregate is what the value of a bucket is made of.
type Aggregate struct {
	Name     string
	Takes    Takes
	Additive bool     // the value of a window is the sum of the values of the windows within it
	Detail   []string // the names that value_json may have, in the order in which they are told
}

// Takes is what an aggregate takes of an observation.
type Takes uint8

// What there is to take.
const (
	Number   Takes = iota + 1 // the value, a number
	Elements                  // the texts, numbers and booleans of the value
	Nothing                   // that there is one; a definition has no value
)

// Aggregate gives the aggregate of a name.
func (t Type) Aggregate(name string) (Aggregate, bool) {
	at := slices.IndexFunc(t.Aggregates, func(a Aggregate) bool { return a.Name == name })
	if at < 0 {
		return Aggregate{}, false
	}
	return t.Aggregates[at], true
}

// Additive tells whether the buckets of a definition of the type add up.
func (t Type) Additive(d Definition) bool {
	a, known := t.Aggregate(d.Aggregate)
	return known && a.Additive
}

// which gives the names of those aggregates for which holds is true.
func (t Type) which(holds func(Aggregate) bool) []string {
	var names []string
	for _, a := range t.Aggregates {
		if holds(a) {
			names = append(names, a.Name)
		}
	}
	return names
}

// withDefaults fills in what a definition of the type may leave out.
func (t Type) withDefaults(d Definition) Definition {
	if d.Aggregate == "" {
		d.Aggregate = t.Aggregates[0].Name
	}
	if d.RelativeError == 0 {
		d.RelativeError = t.RelativeError
	}
	return d
}

// check refuses what the type does not have, and fields that mean nothing together.
func (t Type) check(c *checker, d Definition) {
	if d.Type != t.Name {
		c.refuse("type", "%.60q is another metric type: write type: %s", d.Type, t.Name)
		return
	}
	a, known := t.Aggregate(d.Aggregate)
	if known {
		t.fit(c, d, a)
	} else {
		names := t.which(func(Aggregate) bool { return true })
		c.refuse("aggregate", "%.60q is no aggregate of a %s: %s", d.Aggregate, t.Name, instead(d.Aggregate, names))
	}
	switch {
	case t.RelativeError == 0 && d.RelativeError != 0:
		c.refuse("relative_error", "a %s estimates no quantiles: leave it out", t.Name)
	case t.RelativeError != 0 && !(d.RelativeError >= minRelativeError && d.RelativeError <= maxRelativeError):
		c.refuse("relative_error", "%s is no sensible error: write one from %v to %v, such as %v",
			strconv.FormatFloat(d.RelativeError, 'g', -1, 64), minRelativeError, maxRelativeError, t.RelativeError)
	}
}

// fit refuses what the aggregate has no use for, and what it lacks.
func (t Type) fit(c *checker, d Definition, a Aggregate) {
	if d.Cumulative && !a.Additive {
		c.refuse("cumulative", "the buckets of aggregate %s do not add up: leave it out%s", a.Name,
			t.orAggregate(func(a Aggregate) bool { return a.Additive }))
	}
	if d.Calculation.Derived != nil {
		t.fitDerived(c, a)
	}
	s := d.Calculation.Stream
	if s == nil {
		return
	}
	switch a.Takes {
	case Number:
		if t.NeedsValue && s.Value == "" {
			c.refuse(pathStream+".value", "is missing: write value: event.value, for example")
		}
		return
	case Elements:
		if s.Value == "" {
			c.refuse(pathStream+".value", "is missing: write what is to be counted once, such as value: event.from_address")
		}
	case Nothing:
		if s.Value != "" {
			c.refuse(pathStream+".value", "aggregate %s takes no value: leave it out%s", a.Name,
				t.orAggregate(func(a Aggregate) bool { return a.Takes != Nothing }))
		}
	}
	if s.Scale != 0 {
		c.refuse(pathStream+".scale", "aggregate %s has nothing to scale: leave it out", a.Name)
	}
}

// orAggregate says which aggregates to write instead; nothing where there are none.
func (t Type) orAggregate(fits func(Aggregate) bool) string {
	names := t.which(fits)
	if len(names) == 0 {
		return ""
	}
	return ", or write aggregate: " + strings.Join(names, " or aggregate: ")
}

// Named gives the type of a name.
func Named(name string, types []Type) (Type, bool) {
	at := slices.IndexFunc(types, func(t Type) bool { return t.Name == name })
	if at < 0 {
		return Type{}, false
	}
	return types[at], true
}

// typeNamed gives the type of a name, and refuses one that is unknown.
func (c *checker) typeNamed(name string, types []Type) (Type, bool) {
	t, known := Named(name, types)
	if !known && name != "" { // a missing one is refused with the other fields
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = t.Name
		}
		c.refuse("type", "%.60q is no metric type: %s", name, instead(name, names))
	}
	return t, known
}
