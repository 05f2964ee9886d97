// Package functions lists the metric types.
package functions

import (
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/functions/gauge/gauge"
	"github.com/chainmetrics/chainmetrics/functions/histogram/histogram"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// Types are the metric types that have a function, each named as its folder.
var Types = []aggregate.Type{counter.Type{}, gauge.Type{}, histogram.Type{}}

// Definitions is what definitions of each type may ask for.
func Definitions() []metric.Type {
	all := make([]metric.Type, len(Types))
	for i, t := range Types {
		all[i] = t.Definitions()
	}
	return all
}

// Definition is what definitions of a type may ask for: nothing where no function has the type.
func Definition(name string) metric.Type {
	t, _ := metric.Named(name, Definitions())
	return t
}
