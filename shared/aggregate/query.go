package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
)

// observedAt gives the time of what is observed of a window as a whole: its start or, where nothing can have happened then, the first
// time at which something can.
func observedAt(start time.Time) time.Time {
	if start.Before(events.Earliest) {
		return events.Earliest
	}
	return start
}

// errTwoRows says that a query gives several values where there is one.
var errTwoRows = errors.New("two rows have the same dimensions: a gauge has one value for each set of them in a window")

// query observes the rows that the metric's query gives for each window.
func (r *rebuilding) query(ctx context.Context, archive Archive, p *program) error {
	single := r.kind.Definitions().Level != ""
	element := 0
	err := archive.Rows(ctx, r.rebuild, p.CheckColumns, func(start time.Time, row map[string]any) error {
		observation, ok, err := p.Row(row, observedAt(start))
		if err != nil || !ok {
			return err
		}
		observation.Place.Element, element = element, element+1
		before := len(r.base.buckets)
		if err := r.base.add(p, r.rebuild.Span.Chain, events.ID{}, observation); err != nil {
			return err
		}
		if single && len(r.base.buckets) == before {
			return fmt.Errorf("%w: %s", errTwoRows, observation.Dimensions)
		}
		return nil
	})
	if err == nil && r.overfull() {
		err = fmt.Errorf("a window has more than %d sets of dimensions: raise max_dimensions", p.Definition.MaxDimensions)
	}
	return err
}
