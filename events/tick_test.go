package events_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

// ping is what a PingSource sends, with some of its extensions changed; null removes one.
func ping(t *testing.T, changes map[string]any) event.Event {
	t.Helper()
	attributes := map[string]any{
		"specversion": "1.0", "type": "dev.knative.sources.ping", "id": "5f7a",
		"source":     "/apis/v1/namespaces/blockchain-metrics/pingsources/counter-hourly",
		"metrictype": "counter", "bucketsize": "hourly", "complexity": "small",
	}
	for name, value := range changes {
		attributes[name] = value
		if value == nil {
			delete(attributes, name)
		}
	}
	text, err := json.Marshal(attributes)
	if err != nil {
		t.Fatal(err)
	}
	var ce event.Event
	if err := json.Unmarshal(text, &ce); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return ce
}

func TestParseTick(t *testing.T) {
	t.Parallel()
	counter := events.Tick{Function: "counter", BucketSize: "hourly", Complexity: "small"}
	fees := counter
	fees.Metric = "fees"
	plain := counter
	plain.Complexity = ""
	tests := map[string]struct {
		changes map[string]any
		want    events.Tick
	}{
		"every metric":     {nil, counter},
		"one metric":       {map[string]any{"metric": "fees"}, fees},
		"no complexity":    {map[string]any{"complexity": nil}, plain},
		"JSON data":        {map[string]any{"datacontenttype": "application/json", "data": map[string]any{"bucketsize": "daily"}}, counter},
		"text data":        {map[string]any{"datacontenttype": "text/plain", "data": "wake up"}, counter},
		"a function":       {map[string]any{"function": "archive"}, events.Tick{Function: "archive"}},
		"other extensions": {map[string]any{"chain": "bitcoin", "partitionkey": "s"}, counter},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := events.ParseTick(ping(t, tt.changes))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseTickRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		changes map[string]any
		want    string // part of the error
	}{
		"type of an entry":  {map[string]any{"type": events.TypeEvent}, events.TypeEvent},
		"another type":      {map[string]any{"type": "dev.knative.sources.pong"}, "want dev.knative.sources.ping or dev.chainmetrics.run.requested.v1"},
		"no metric type":    {map[string]any{"metrictype": nil}, "no metrictype"},
		"empty metric type": {map[string]any{"metrictype": ""}, "no metrictype"},
		"no bucket size":    {map[string]any{"bucketsize": nil}, "no bucketsize"},
		"number":            {map[string]any{"bucketsize": 10}, "no bucketsize"},
		"long metric type":  {map[string]any{"metrictype": strings.Repeat("x", 257)}, "metrictype has 257 bytes"},
		"long metric":       {map[string]any{"metric": strings.Repeat("x", 1<<20)}, "metric has 1048576 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tick, err := events.ParseTick(ping(t, tt.changes))
			if !errors.Is(err, events.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q; tick %+v", err, tt.want, tick)
			}
			if tick != (events.Tick{}) {
				t.Errorf("tick is %+v beside the error", tick)
			}
		})
	}
}

// TestTypes compares Types with the constants of this package.
func TestTypes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Type") {
				return true
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Errorf("%s: %v", spec.Names[0].Name, err)
			}
			want = append(want, value)
			return true
		})
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(events.Types()))); diff != "" {
		t.Errorf("types differ (-constants +Types):\n%s", diff)
	}
}
