package integration_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

var timeFilter = regexp.MustCompile(`\$__timeFilter\(([a-z_.]+)\)`)

// TestDashboardOfBuckets runs each query of the dashboard, as Grafana fills it in, against a store with buckets.
func TestDashboardOfBuckets(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../config/monitoring/dashboards/buckets.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Format, RawSQL string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	pipeline.Apply(t, store, "gas.yaml", []byte(`{name: "gas", type: counter, chains: [testchain], bucket_sizes: [hourly],
		calculation_logic: {stream: {event_type: block, value: event.gas_used, dimensions: {kind: event.kind}}}}`))
	at := time.Now().UTC().Add(-24 * time.Hour).Truncate(time.Second)
	entry, err := events.NewBlockEntry(events.ID{Minor: 1}, events.Block{
		Chain: "testchain", Hash: "h", ParentHash: "p", Time: at,
		Fields: map[string]any{"number": 0, "hash": "h", "timestamp": at.Unix(), "gas_used": 7, "kind": "it's"},
	}, at)
	if err != nil {
		t.Fatal(err)
	}
	function := aggregate.NewFunction(counter.Type{}, store)
	if _, _, err := function.Apply(t.Context(), "s", []events.Delivery{events.NewDelivery("s", entry, events.ID{})}); err != nil {
		t.Fatal(err)
	}
	if _, err := database.Exec(t.Context(), `insert into runs (metric_id, bucket_size, bucket_start, chain, reason)
		select metric_id, bucket_size, bucket_start, chain, 'due' from metrics_data`); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{} // of the variables, as sqlstring writes them
	query := func(statement string) ([]string, [][]any) {
		t.Helper()
		for name, value := range values {
			statement = strings.ReplaceAll(statement, "${"+name+":sqlstring}", value)
		}
		statement = strings.ReplaceAll(statement, "$__timeFrom()", "'"+at.AddDate(0, 0, -29).Format(time.RFC3339)+"'")
		statement = timeFilter.ReplaceAllString(statement, "$1 between now() - interval '30 d' and now()")
		rows, err := database.Query(t.Context(), statement)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		var columns []string
		for _, c := range rows.FieldDescriptions() {
			columns = append(columns, c.Name)
		}
		all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		if len(all) == 0 {
			t.Errorf("gives nothing: %s", statement)
		}
		return columns, all
	}
	for _, v := range dashboard.Templating.List {
		if v.Type != "query" {
			continue
		}
		_, rows := query(v.Query)
		if len(rows) > 0 {
			text, ok := rows[0][0].(string)
			if !ok {
				t.Errorf("variable %s has values such as %v", v.Name, rows[0][0])
			}
			values[v.Name] = "'" + strings.ReplaceAll(text, "'", "''") + "'"
		}
	}
	queries := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			queries++
			columns, rows := query(target.RawSQL)
			if target.Format == "time_series" && len(rows) > 0 {
				if _, ok := rows[0][slices.Index(columns, "time")].(time.Time); !ok {
					t.Errorf("%s: no column time in %q", p.Title, columns)
				}
			}
		}
	}
	if queries < 4 || len(values) != 4 {
		t.Errorf("%d queries, variables %v", queries, values)
	}
}
