package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// apply registers metrics: all or, where the query of one cannot be run, none. It gives a line for each query that is not checked.
func apply(
	ctx context.Context, store *postgres.Store, definitions []metric.Definition,
) (applied []postgres.AppliedMetric, unchecked []string, err error) {
	if unchecked, err = checkQueries(ctx, store, definitions); err != nil {
		return nil, nil, err
	}
	applied, err = store.ApplyMetrics(ctx, definitions)
	return applied, unchecked, err
}

// checkQueries has Postgres check the queries of definitions. Its error has a line for each thing that is wrong.
func checkQueries(ctx context.Context, store *postgres.Store, definitions []metric.Definition) (unchecked []string, err error) {
	var wrong []error
	for _, d := range definitions {
		if d.Calculation.SQL == nil {
			continue
		}
		program, err := metric.Compile(d, functions.Definition(d.Type))
		if err != nil {
			return nil, err
		}
		err = store.CheckQuery(ctx, *d.Calculation.SQL, program.CheckColumns)
		if errors.Is(err, postgres.ErrNoConnection) {
			unchecked = append(unchecked, fmt.Sprintf("%s: its first run will check the query: %v", d.Name, err))
			continue
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				wrong = append(wrong, fmt.Errorf("%s: %s", d.Name, strings.TrimRight(line, "\n")))
			}
		}
	}
	return unchecked, errors.Join(wrong...)
}
