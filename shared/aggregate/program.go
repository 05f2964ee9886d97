package aggregate

import (
	"slices"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// programs is a registry compiled, indexed by the event type that a metric wants.
type programs struct {
	version int64
	open    bool
	kind    Type
	metrics map[int64]*program
	byEvent map[string][]*program // those that observe events of the type
	// queries are those of queries that read events of the type: when one happened is all that the stream tells them.
	queries map[string][]*program
	// rebuilding has the windows that are computed again, each with its generation.
	rebuilding map[bucket.Key]int64
}

type program struct {
	Metric
	*metric.Program
	finest bucket.Size // the size of the windows in which observations are gathered before they are merged into larger ones
}

func compile(kind Type, registry Registry) (*programs, error) {
	compiled := &programs{
		version: registry.Version,
		open:    registry.Open,
		kind:    kind,
		metrics: make(map[int64]*program, len(registry.Metrics)),
		byEvent: make(map[string][]*program),
		queries: make(map[string][]*program),

		rebuilding: registry.Rebuilding,
	}
	may := kind.Definitions()
	for _, m := range registry.Metrics {
		code, err := metric.Compile(m.Definition, may)
		if err != nil {
			return nil, err
		}
		p := &program{Metric: m, Program: code, finest: finest(m.Definition.BucketSizes)}
		compiled.metrics[m.ID] = p
		into := compiled.byEvent
		if m.Definition.Calculation.SQL != nil {
			into = compiled.queries
		}
		for _, eventType := range m.Definition.Calculation.EventTypes() {
			into[eventType] = append(into[eventType], p)
		}
	}
	return compiled, nil
}

// finest gives the size whose windows make up all windows of the sizes: the smallest, but days where weeks are to be
// had, since months are not made of weeks.
func finest(sizes []bucket.Size) bucket.Size {
	return min(slices.Min(sizes), bucket.Daily)
}

// wants tells whether the program measures the chain.
func (p *program) wants(event events.Event) bool {
	return slices.Contains(p.Definition.Chains, event.Chain)
}
