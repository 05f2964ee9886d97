package events_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chainmetrics/chainmetrics/events"
)

// schemaOf compiles the schema of a type, which is named after it.
func schemaOf(t *testing.T, ceType string) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(events.Schema(ceType)))
	if err != nil {
		t.Fatalf("schema of %s: %v", ceType, err)
	}
	name := strings.TrimPrefix(ceType, "dev.chainmetrics.") + ".json"
	if fields := document.(map[string]any); fields["$id"] != name || fields["title"] != "Data of "+ceType {
		t.Errorf("schema of %s has the id %v, the title %v", ceType, fields["$id"], fields["title"])
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, data []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return schema.Validate(value)
}

// examples has data of each type, as it travels.
func examples(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{events.TypeRunRequested: request.CloudEvent("scheduler", appended).Data()}
	for _, d := range deliveries(t) {
		all[d.Type] = d.Data
	}
	for _, n := range notices() {
		ce, err := n.CloudEvent()
		if err != nil {
			t.Fatal(err)
		}
		all[n.Type] = ce.Data()
	}
	return all
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	all := examples(t)
	for _, ceType := range events.Types() {
		if ceType == events.TypePing {
			continue // its data is free
		}
		if err := validate(t, schemaOf(t, ceType), all[ceType]); err != nil {
			t.Errorf("%s: %s: %v", ceType, all[ceType], err)
		}
	}
	if text := events.Schema("dev.chainmetrics.run.started.v1"); text != nil {
		t.Errorf("a type that there is not has the schema %s", text)
	}
}

// TestReasonsOfRevisions has the schema name those that the code knows.
func TestReasonsOfRevisions(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties struct {
			Reason struct {
				Enum []string `json:"enum"`
			} `json:"reason"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(events.Schema(events.TypeBucketRevised), &schema); err != nil {
		t.Fatal(err)
	}
	want := []string{
		events.RevisedLate, events.RevisedReverted, events.RevisedPassed, events.RevisedImported, events.RevisedCleared,
		events.RevisedCorrected, events.RevisedDependency, events.RevisedCheck, events.RevisedRebuilt,
	}
	if diff := cmp.Diff(want, schema.Properties.Reason.Enum); diff != "" {
		t.Error(diff)
	}
}

// TestSchemasRefuse what lacks a field, what has another, and values that are none.
func TestSchemasRefuse(t *testing.T) {
	t.Parallel()
	wrong := map[string]map[string]any{
		events.TypeBlock:  {"block": map[string]any{"number": 1.5, "hash": "x", "timestamp": 1}, "events": []any{map[string]any{}}},
		events.TypeEvent:  {"type": "X", "chain": 1, "timestamp": nil},
		events.TypeRevert: {"ancestor": "1", "number": -1, "hash": "", "x": 1},
		events.TypeRaw:    {"reason": 1, "fields": []any{[]any{"a"}}, "left_out": 0},

		events.TypeRunRequested:    {"metric": "A-b", "complexity": "huge", "bucket_size": "yearly", "x": 1},
		events.TypeBucketFinalized: {"bucket_start": "2009-01-03", "run_id": 0, "observations": -1, "buckets": "1", "x": 1},
		events.TypeBucketRevised:   {"reason": "whim", "changes": 0, "chain": "Bitcoin"},
		events.TypeBucketDrifted:   {"changes": 0, "metric_type": ""},
		events.TypeRunFailed:       {"error": "", "attempt": -1},
		events.TypeRunRetried:      {"error": "", "attempt": 0, "reason": "", "next_attempt_at": "soon", "x": 1},
		events.TypeRunLate:         {"deadline": "soon"},
		events.TypeCheckFailed:     {"severity": "panic", "check": "", "message": 1},
		events.TypeMetricChanged:   {"change": "renamed", "version": 0, "chain": "bitcoin"},
	}
	for ceType, data := range examples(t) {
		schema := schemaOf(t, ceType)
		for name, value := range wrong[ceType] {
			if err := validate(t, schema, changed(t, data, func(fields map[string]any) { fields[name] = value })); err == nil {
				t.Errorf("%s: %s may be %v", ceType, name, value)
			}
		}
		var fields map[string]any
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
		required := map[string]bool{}
		for name := range maps.Keys(fields) {
			err := validate(t, schema, changed(t, data, func(fields map[string]any) { delete(fields, name) }))
			required[name] = err != nil
		}
		for _, optional := range []string{"memo", "left_out", "run_id", "observations"} {
			delete(required, optional)
		}
		for name, is := range required {
			if !is {
				t.Errorf("%s: %s may be missing", ceType, name)
			}
		}
	}
}

// changed gives an object with some fields changed.
func changed(t *testing.T, data []byte, change func(map[string]any)) []byte {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	change(fields)
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
