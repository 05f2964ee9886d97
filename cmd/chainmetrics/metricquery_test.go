package main_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
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
	changed := func(name, what, by string) string {
		if !strings.Contains(query, what) {
			t.Fatalf("no %q in\n%s", what, query)
		}
		return strings.NewReplacer("test_moved", name, what, by).Replace(query)
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
	want := "remote_rows: its first run will check the query: no connection other_server: set CONNECTION_OTHER_SERVER to its URL\n"
	if r.code != 0 || !strings.HasPrefix(r.out, "created    remote_rows  history from 2024-01-01: ") || r.errors != want {
		t.Errorf("without the variable: %+v", r)
	}
	o.refused(t, 1, "chainmetrics: remote_rows: its query cannot be run here: CONNECTION_OTHER_SERVER is not set\n"+
		"  set it, or have the functions run it, with --detach\n", "backfill", "remote_rows")
	o.refused(t, 1, "chainmetrics: remote_rows: its query cannot be run here: CONNECTION_OTHER_SERVER is not set\n",
		"metric", "run", "remote_rows", "--bucket", "daily", "--from", "2024-01-01")
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
	if r = o.run(t, "backfill", "remote_rows", "--to", "2024-01-04"); r.code != 0 || !strings.Contains(r.errors, "3 succeeded") {
		t.Errorf("backfill from the start date: %+v", r)
	}
	r = o.run(t, "backfill", "remote_rows", "--from", "2d")
	if r.code != 0 || !strings.Contains(r.errors, "3 succeeded") { // the day that is under way is computed too, but not final
		t.Errorf("backfill until now: %+v", r)
	}
	var windows []struct{ Final bool }
	shown := o.must(t, "metric", "run", "remote_rows", "--bucket", "daily", "--from", "2d", "--to", time.Now().UTC().Format(time.RFC3339), "-o", "json")
	if err := json.Unmarshal([]byte(shown), &windows); err != nil {
		t.Fatal(err)
	}
	if len(windows) != 3 || !windows[0].Final || windows[2].Final {
		t.Errorf("three days: %s", shown)
	}
	o.refused(t, 1, "chainmetrics: remote_rows is made of no archived events: its windows are due by the clock\n"+
		"  see which were computed: "+o.binary+" run list remote_rows\n", "coverage", "remote_rows")
}

// TestMetricsComputedByRuns: what the command says of metrics that no stream counts.
func TestMetricsComputedByRuns(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "postgres", "redis")
	o.must(t, "metric", "apply", "-f", file(t, "metrics.yaml"))
	entries := chain(t, 4) // 27 February to 1 March
	o.archive(t, testStream, entries)
	o.deliver(t, entries)
	want := "created    test_moved  history from 2024-02-27: 6 windows\n" +
		"created    test_moved_per_block  history from 2024-02-27: 4 windows\n"
	if got := o.must(t, "metric", "apply", "-f", file(t, "queries.yaml")); got != want {
		t.Errorf("applied:\n%s", got)
	}
	if got := o.must(t, "metric", "show", "test_moved"); strings.Contains(got, "since") {
		t.Errorf("it counts no entries:\n%s", got)
	}
	if r := o.run(t, "backfill", "test_moved"); r.code != 0 || !strings.Contains(r.errors, "4 succeeded") {
		t.Errorf("backfill: %+v", r)
	}
	r := o.run(t, "query", "test_moved", "--bucket", "daily", "--from", "2024-03-01")
	want = "start       chain      kind           value (coins)\n" +
		"2024-03-01  testchain  normal                     4\n" +
		"2024-03-01  testchain  odd, \"quoted\"     0.00000001\n"
	const told = "testchain: windows that end by 2024-03-01T00:00:00Z hold all that was expected\n"
	if r.code != 0 || r.out != want || r.errors != told {
		t.Errorf("query: %+v", r)
	}
	if got := o.must(t, "query", "test_moved", "--bucket", "daily", "-o", "json"); !strings.Contains(got, `"low_water": "2024-03-01T00:00:00Z"`) {
		t.Errorf("it does not say how far it holds:\n%s", got)
	}
	if got := o.must(t, "coverage", "test_moved"); !strings.Contains(got, testStream) {
		t.Errorf("coverage:\n%s", got)
	}
	o.refused(t, 1, "chainmetrics: test_moved_per_block is derived from test_moved, test_blocks: ask for the coverage of these\n"+
		"  see what it depends on: "+o.binary+" metric graph test_moved_per_block\n", "coverage", "test_moved_per_block")
}
