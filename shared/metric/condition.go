package metric

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/chainmetrics/chainmetrics/events"
)

const wantedCondition = "a condition, such as event.value > 0"

// Condition is a where that belongs to no definition. It is safe for use by many goroutines.
type Condition struct{ where *expression }

// ParseCondition compiles text, which is found under a name. It tells everything that is wrong with it, as one error that joins
// [FieldError]s.
func ParseCondition(name, text string) (*Condition, error) {
	words, err := eventVocabulary(false)
	if err != nil {
		return nil, err
	}
	c := &checker{}
	where := c.compile(name, text, words, wantedCondition, cel.BoolType)
	if len(c.mistakes) > 0 {
		return nil, joined(c.mistakes)
	}
	return &Condition{where}, nil
}

// Matches tells whether the condition holds for an event: where a field is missing it does not. It fails as [Program.Observe] does.
func (c *Condition) Matches(ev events.Event) (bool, error) {
	return c.where.matches(&scope{event: ev.Fields, block: ev.Block})
}

// matches evaluates a where.
func (e *expression) matches(s *scope) (bool, error) {
	value, err := e.evaluate(s)
	var missing missingFieldError
	switch {
	case errors.As(err, &missing):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("where: %w", err)
	}
	matches, ok := value.(types.Bool)
	if !ok {
		return false, errors.New("where: not a boolean")
	}
	return bool(matches), nil
}
