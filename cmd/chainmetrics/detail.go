package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// checkShow refuses names that value_json of the metric never has. Those of a type that this version does not know are
// taken as they are.
func checkShow(cmd *cobra.Command, definition metric.Definition, names []string) error {
	aggregate, known := functions.Definition(definition.Type).Aggregate(definition.Aggregate)
	for _, name := range names {
		switch {
		case !known || slices.Contains(aggregate.Detail, name):
		case len(aggregate.Detail) == 0:
			return usage(cmd, "--show %s: %s has no value_json: leave it out", name, definition.Name)
		default:
			return usage(cmd, "--show %s: value_json of %s has no such name: want one of %s", name, definition.Name,
				strings.Join(aggregate.Detail, ", "))
		}
	}
	return nil
}

// detailTexts gives the values that a point's value_json has for the names; missing where it has none.
func detailTexts(detail json.RawMessage, names []string, missing string) ([]string, error) {
	var values map[string]json.RawMessage
	if len(names) > 0 && detail != nil {
		if err := json.Unmarshal(detail, &values); err != nil {
			return nil, fmt.Errorf("read value_json: %w", err)
		}
	}
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = string(values[name])
		if texts[i] == "" || texts[i] == "null" {
			texts[i] = missing
		}
	}
	return texts, nil
}
