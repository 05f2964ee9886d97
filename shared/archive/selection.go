package archive

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// selection is which events are kept. The zero value keeps all.
type selection struct {
	types []string // empty: all
	where map[string]*metric.Condition
}

// selection compiles what the configuration says, and names everything that is wrong with it.
func (c *Config) selection() (selection, error) {
	s := selection{types: c.EventTypes, where: make(map[string]*metric.Condition)}
	var wrong []error
	if slices.Contains(c.EventTypes, "") {
		wrong = append(wrong, errors.New("ARCHIVE_EVENT_TYPES has an empty name: want block,transaction"))
	}
	var texts map[string]string
	if err := yaml.Unmarshal([]byte(c.Where), &texts); err != nil {
		wrong = append(wrong, fmt.Errorf("ARCHIVE_WHERE is no YAML of event types and conditions: want transaction: event.value > 0: %w", err))
	}
	for _, eventType := range slices.Sorted(maps.Keys(texts)) {
		var err error
		if s.where[eventType], err = metric.ParseCondition("ARCHIVE_WHERE of "+eventType, texts[eventType]); err != nil {
			wrong = append(wrong, err)
		}
		if len(s.types) > 0 && !slices.Contains(s.types, eventType) {
			wrong = append(wrong, fmt.Errorf("ARCHIVE_WHERE has %s, which is not among ARCHIVE_EVENT_TYPES: want it there, or here not",
				eventType))
		}
	}
	return s, errors.Join(wrong...)
}

// keeps tells whether an event is kept. One of which the condition cannot tell is.
func (s selection) keeps(event events.Event) bool {
	if len(s.types) > 0 && !slices.Contains(s.types, event.Type) {
		return false
	}
	where := s.where[event.Type]
	if where == nil {
		return true
	}
	matches, err := where.Matches(event)
	return matches || err != nil
}
