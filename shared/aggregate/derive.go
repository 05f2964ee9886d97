package aggregate

import (
	"context"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// derive evaluates the metric's expression over what its dependencies show, for each window and set of dimensions.
func (r *rebuilding) derive(ctx context.Context, archive Archive, p *program) error {
	dependencies, err := archive.Dependencies(ctx, r.rebuild)
	if err != nil {
		return err
	}
	type place struct {
		start      time.Time
		dimensions string
	}
	shown := make([]map[place]decimal.Decimal, len(dependencies))
	sets := make(map[place]map[string]string) // those of dependencies that have all dimensions
	for i, d := range dependencies {
		shown[i] = make(map[place]decimal.Decimal, len(d.Values))
		for _, v := range d.Values {
			at := place{v.Start, metric.EncodeDimensions(v.Dimensions)}
			shown[i][at] = v.Value
			if slices.Equal(d.Dimensions, p.Definition.Calculation.DimensionNames()) {
				sets[at] = v.Dimensions
			}
		}
	}
	values := make(map[string]decimal.Decimal, len(dependencies))
	for at, dimensions := range sets {
		clear(values)
		for i, d := range dependencies {
			some := make(map[string]string, len(d.Dimensions))
			for _, name := range d.Dimensions {
				some[name] = dimensions[name]
			}
			if value, ok := shown[i][place{at.start, metric.EncodeDimensions(some)}]; ok {
				values[d.Name] = value
			}
		}
		value, ok, err := p.Derive(values)
		if err != nil {
			r.refused[at.start]++
		}
		if err != nil || !ok {
			continue
		}
		observation := metric.Observation{Time: observedAt(at.start), Dimensions: at.dimensions, Number: value}
		if err := r.base.add(p, r.rebuild.Span.Chain, events.ID{}, observation); err != nil {
			r.refused[at.start]++
		}
	}
	return nil
}
