package postgres_test

import (
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// TestFieldColumns: what is not needed is not read, unless reading all is faster, or nothing else is possible.
func TestFieldColumns(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		names string
		all   bool
		want  string
	}{
		"none":               {"", false, "exact_fields"},
		"some":               {"a b", false, "exact_fields, fields -> $7, fields -> $8"},
		"what are no fields": {"a chain type", false, "exact_fields, fields -> $7"},
		"any":                {"a", true, "exact_fields, fields"},
		"many":               {"a b c d e f g h i", false, "exact_fields, fields"},
		"a NUL":              {"a\x00", false, "exact_fields, fields"},
	}
	for name, test := range tests {
		got := postgres.FieldColumns(aggregate.EventQuery{Fields: strings.Fields(test.names), AllFields: test.all})
		if got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}
