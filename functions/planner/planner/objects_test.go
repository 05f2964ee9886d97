package planner_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/chainmetrics/chainmetrics/examples"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// definitions gives the example metrics.
func definitions(t *testing.T) []metric.Definition {
	t.Helper()
	text, err := fs.ReadFile(examples.Metrics, "metrics/bitcoin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, err := metric.Parse("bitcoin.yaml", text, functions.Definitions())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestObjects(t *testing.T) {
	t.Parallel()
	d := metric.Definition{
		Name: "gas_used", Type: "gauge", Complexity: "medium", BucketSizes: []bucket.Size{bucket.Daily},
		Calculation: metric.Calculation{Stream: &metric.Stream{EventType: "block", Where: "event.gas_used > 0 && true"}},
		Schedule:    metric.Schedule{Cron: "0 6 * * *", Timezone: "Europe/Berlin"},
	}
	objects, err := planner.ObjectsOf(d, "metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(objects[1], "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "apiVersion": "sources.knative.dev/v1",
  "kind": "PingSource",
  "metadata": {
    "name": "metric-gas-used-daily",
    "namespace": "metrics",
    "labels": {
      "app.kubernetes.io/managed-by": "chainmetrics-planner",
      "app.kubernetes.io/part-of": "chainmetrics",
      "bucket": "daily",
      "complexity": "medium",
      "metric": "gas_used",
      "metric-type": "gauge"
    }
  },
  "spec": {
    "schedule": "0 6 * * *",
    "timezone": "Europe/Berlin",
    "ceOverrides": {
      "extensions": {
        "bucketsize": "daily",
        "complexity": "medium",
        "metric": "gas_used",
        "metrictype": "gauge"
      }
    },
    "sink": {
      "ref": {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Broker",
        "name": "metrics"
      }
    }
  }
}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("PingSource (-want +got)\n%s", diff)
	}
	if got := objects[0].Metadata.Name; got != "metrics-config-gas-used" {
		t.Errorf("the ConfigMap is %s", got)
	}
	if got := objects[0].Data["metric.json"]; !strings.Contains(got, `"event.gas_used > 0 && true"`) {
		t.Errorf("an expression is not as it was written:\n%s", got)
	}
	d.Cron = "often"
	if _, err := planner.Objects([]metric.Definition{d, {Name: "other", Schedule: d.Schedule, BucketSizes: d.BucketSizes}}, "metrics"); err == nil ||
		!strings.Contains(err.Error(), "gas_used") || !strings.Contains(err.Error(), "other") {
		t.Errorf("metrics without a schedule: %v", err)
	}
}

// TestCopiesCanBeApplied: metric.json is the definition, in the form that metric apply takes.
func TestCopiesCanBeApplied(t *testing.T) {
	t.Parallel()
	for _, d := range definitions(t) {
		objects, err := planner.ObjectsOf(d, "metrics")
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := metric.Parse("metric.json", []byte(objects[0].Data["metric.json"]), functions.Definitions())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]metric.Definition{d}, parsed); diff != "" {
			t.Errorf("%s (-definition +copy)\n%s", d.Name, diff)
		}
		if diff := cmp.Diff(map[string]bool{"metric.json": true, "dependencies.json": true}, keys(objects[0].Data)); diff != "" {
			t.Errorf("%s: data (-want +got)\n%s", d.Name, diff)
		}
		if got := objects[0].Data["dependencies.json"]; got != "[]\n" {
			t.Errorf("%s: dependencies are %q", d.Name, got)
		}
	}
}

// TestCopiesOfOtherCalculations: a query is a text of its own, as it was written; what a metric is derived from is a list.
func TestCopiesOfOtherCalculations(t *testing.T) {
	t.Parallel()
	const text = `
name: gas_queried
type: counter
calculation_logic:
  sql:
    template: |
      -- gas & "more"
      select gas_used as value from blocks
      where chain = {chain} and timestamp >= {start_time} and timestamp < {end_time}
    event_types: [block]
chains: [testchain]
bucket_sizes: [daily]
---
name: gas_share
type: gauge
calculation_logic: {derived: {expression: gas_queried / gas_limit, dependencies: [gas_queried, gas_limit]}}
chains: [testchain]
bucket_sizes: [daily]
`
	all, err := metric.Parse("other.yaml", []byte(text), functions.Definitions())
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{{
		"dependencies.json": "[]\n",
		"calculation_logic.sql": `-- gas & "more"
select gas_used as value from blocks
where chain = {chain} and timestamp >= {start_time} and timestamp < {end_time}
`,
	}, {
		"dependencies.json": `["gas_queried","gas_limit"]` + "\n",
	}}
	for i, d := range all {
		objects, err := planner.ObjectsOf(d, "metrics")
		if err != nil {
			t.Fatal(err)
		}
		data := objects[0].Data
		copied, err := metric.Parse("metric.json", []byte(data["metric.json"]), functions.Definitions())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]metric.Definition{d}, copied); diff != "" {
			t.Errorf("%s (-definition +copy)\n%s", d.Name, diff)
		}
		delete(data, "metric.json")
		if diff := cmp.Diff(want[i], data); diff != "" {
			t.Errorf("%s: data (-want +got)\n%s", d.Name, diff)
		}
	}
}

func keys(data map[string]string) map[string]bool {
	all := make(map[string]bool)
	for name := range data {
		all[name] = true
	}
	return all
}

// TestPingSourcesAreThoseOfKnative: its types take every field, and give it back.
func TestPingSourcesAreThoseOfKnative(t *testing.T) {
	t.Parallel()
	objects, err := planner.Objects(definitions(t), "metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.Kind != planner.PingSource {
			continue
		}
		text, err := json.Marshal(o.Spec)
		if err != nil {
			t.Fatal(err)
		}
		var spec struct {
			duckv1.SourceSpec `json:",inline"`
			Schedule          string `json:"schedule"`
			Timezone          string `json:"timezone"`
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&spec); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if err := spec.Validate(t.Context()); err != nil {
			t.Errorf("%s: %v", o.Metadata.Name, err)
		}
		back, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(back, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-ours +Knative's)\n%s", o.Metadata.Name, diff)
		}
	}
}

// TestNamesAreApart, also where one metric's name and size look like another's.
func TestNamesAreApart(t *testing.T) {
	t.Parallel()
	var all []metric.Definition
	for _, name := range []string{"a", "a_10", "a_10_10", "a10", "a_b", "ab", "a_10_minutely", strings.Repeat("a", 37) + "_10"} {
		all = append(all, metric.Definition{Name: name, BucketSizes: bucket.Sizes()})
	}
	objects, err := planner.Objects(all, "metrics")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string)
	for _, o := range objects {
		name, of := fmt.Sprintf("%s %s", o.Kind, o.Metadata.Name), o.Metadata.Labels["metric"]+" "+o.Metadata.Labels["bucket"]
		if other, there := names[name]; there {
			t.Errorf("%s is of %s, and of %s", name, other, of)
		}
		if len(o.Metadata.Name) > 63 {
			t.Errorf("%s has %d letters", name, len(o.Metadata.Name))
		}
		names[name] = of
	}
}
