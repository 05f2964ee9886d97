package main_test

import "testing"

const moreDerived = `
name: test_moved_again
type: gauge
calculation_logic:
  derived: {expression: test_moved_per_block + test_moved, dependencies: [test_moved_per_block, test_moved], dimensions: [kind]}
chains: [testchain]
bucket_sizes: [daily]
---
name: test_ratio
type: gauge
calculation_logic:
  derived:
    expression: test_moved_again / test_moved_per_block
    dependencies: [test_moved_again, test_moved_per_block]
    dimensions: [kind]
chains: [testchain]
bucket_sizes: [daily]
`

func TestMetricGraph(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	if r := o.run(t, "metric", "graph"); r.code != 0 || r.out != "" || r.errors != "no metric depends on others\n" {
		t.Errorf("without derived metrics: %+v", r)
	}
	o.must(t, "metric", "apply", "-f", file(t, "queries.yaml"))
	o.write(t, "more.yaml", moreDerived)
	o.must(t, "metric", "apply", "-f", "more.yaml")
	golden(t, "graph.txt", o.must(t, "metric", "graph"))
	golden(t, "graph-middle.txt", o.must(t, "metric", "graph", "test_moved_per_block"))
	golden(t, "graph-alone.txt", o.must(t, "metric", "graph", "test_senders"))
	golden(t, "graph.json", o.must(t, "metric", "graph", "-o", "json"))
	golden(t, "graph-again.json", o.must(t, "metric", "graph", "test_moved_again", "-o", "json"))
	golden(t, "graph.dot", o.must(t, "metric", "graph", "--output", "dot"))
	o.refused(t, 1, "chainmetrics: unknown metric: other\n  see the names with: "+o.binary+" metric list\n", "metric", "graph", "other")
	o.refused(t, 2, "chainmetrics: unexpected argument \"b\" after METRIC\n  see chainmetrics metric graph --help\n", "metric", "graph", "a", "b")
}
