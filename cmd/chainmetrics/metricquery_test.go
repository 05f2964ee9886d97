package main_test

import (
	"os"
	"strings"
	"testing"
)

// TestQueriesAreCheckedBeforeTheyAreApplied: all that is wrong is told at once, and nothing is registered.
func TestQueriesAreCheckedBeforeTheyAreApplied(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.must(t, "migrate")
	text, err := os.ReadFile(file(t, "queries.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	query, _, _ := strings.Cut(string(text), "---\n")
	changed := func(name, old, new string) string {
		if !strings.Contains(query, old) {
			t.Fatalf("no %q in\n%s", old, query)
		}
		return strings.NewReplacer("test_moved", name, old, new).Replace(query)
	}
	definitions, err := os.ReadFile(file(t, "metrics.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r := o.answer(t, strings.Join([]string{
		string(definitions), query,
		changed("no_column", "fields ->> 'kind' as kind", "sort as kind"),
		changed("no_table", "archived_events", "metrics_data"),
		changed("inexact", "::numeric", "::float8"),
		changed("other_columns", "as kind", "as sort, 1 as more"),
	}, "---\n"), "metric", "apply", "-f", "-")
	want := `chainmetrics: no_column: query: ERROR: column "sort" does not exist (SQLSTATE 42703)
chainmetrics: no_table: query: ERROR: column "fields" does not exist (SQLSTATE 42703)
chainmetrics: inexact: query: column value is a float8, which is not exact: cast it, as value::numeric
chainmetrics: other_columns: query: column "sort" is neither value nor one of the dimensions: leave it out, or write it into dimensions
chainmetrics: other_columns: column "more" is neither value nor one of the dimensions: leave it out, or write it into dimensions
chainmetrics: other_columns: no column is named kind, as a dimension is: select it, as kind
`
	if r.code != 1 || r.out != "" || r.errors != want {
		t.Errorf("exit status %d\n%s%s", r.code, r.out, r.errors)
	}
	if got := o.must(t, "metric", "list", "-o", "json"); got != "[]\n" {
		t.Errorf("the registry was changed: %s", got)
	}
	forbidden := strings.Replace(query, "from archived_events", "from archived_events, (select dimensions from metrics_data) d", 1)
	if r := o.answer(t, forbidden, "metric", "apply", "-f", "-"); r.code != 1 || r.out != "" ||
		!strings.HasPrefix(r.errors, "chainmetrics: test_moved: query: ERROR: permission denied for table metrics_data") {
		t.Errorf("a table that it may not read: %+v", r)
	}
}

// TestQueriesOfConnections are checked where the variable of the connection is set.
func TestQueriesOfConnections(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres")
	o.must(t, "migrate")
	const definition = `
name: remote_rows
type: gauge
calculation_logic:
  sql:
    connection: other_server
    template: select count(*) as value from pg_class where {start_time} < {end_time}
start_date: 2024-01-01
chains: [testchain]
bucket_sizes: [daily]
`
	r := o.answer(t, definition, "metric", "apply", "-f", "-")
	want := "remote_rows: its first run will check the query, since CONNECTION_OTHER_SERVER is not set here\n"
	if r.code != 0 || r.out != "created    remote_rows\n" || r.errors != want {
		t.Errorf("without the variable: %+v", r)
	}
	o.environ = append(o.environ, "CONNECTION_OTHER_SERVER="+o.variable("POSTGRES_URL"))
	wrong := strings.Replace(definition, "pg_class", "pg_classes", 1)
	r = o.answer(t, wrong, "metric", "apply", "-f", "-")
	want = "chainmetrics: remote_rows: query: ERROR: relation \"pg_classes\" does not exist (SQLSTATE 42P01)\n"
	if r.code != 1 || r.out != "" || r.errors != want {
		t.Errorf("with it: %+v", r)
	}
	if r = o.answer(t, definition, "metric", "apply", "-f", "-"); r.code != 0 || r.out != "unchanged  remote_rows\n" || r.errors != "" {
		t.Errorf("with it: %+v", r)
	}
}
