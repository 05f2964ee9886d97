package events_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestSchemas(t *testing.T) {
	t.Parallel()
	for name, d := range deliveries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := readSchema(t, name+".v1.json")
			if problems := s.check("data", decode(t, d.Data)); problems != nil {
				t.Errorf("%s\n%s", d.Data, strings.Join(problems, "\n"))
			}
			if s.Title != "Data of "+d.Type {
				t.Errorf("title is %q", s.Title)
			}
		})
	}
}

func TestSchemasRefuse(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"block.v1.json":  `{"block":{"number":1.5,"hash":"","timestamp":null},"events":[{}],"x":1}`,
		"event.v1.json":  `{"type":"X","chain":1}`,
		"revert.v1.json": `{"ancestor":"1","number":-1,"hash":""}`,
		"raw.v1.json":    `{"reason":1,"fields":[["a"]],"left_out":0}`,
	}
	for file, data := range tests {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			if problems := readSchema(t, file).check("data", decode(t, []byte(data))); len(problems) < 3 {
				t.Errorf("problems are %q", problems)
			}
		})
	}
}

// schema is the part of JSON Schema that ours use.
type schema struct {
	Title                string
	Type                 any
	Required             []string
	Properties           map[string]schema
	AdditionalProperties *bool
	Items                *schema
	MinItems, MaxItems   *int
	Minimum              *float64
	Pattern              string
}

func readSchema(t *testing.T, file string) schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("schema", file))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func decode(t *testing.T, data []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// check names what does not fit, each with its path.
func (s schema) check(path string, value any) (problems []string) {
	complain := func(format string, args ...any) {
		problems = append(problems, path+": "+fmt.Sprintf(format, args...))
	}
	if kinds, ok := s.Type.(string); ok && !isA(value, kinds) {
		complain("%v is no %s", value, kinds)
	}
	if kinds, ok := s.Type.([]any); ok && !slices.ContainsFunc(kinds, func(kind any) bool { return isA(value, kind.(string)) }) {
		complain("%v is none of %s", value, kinds)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				complain("no %s", name)
			}
		}
		for name, member := range v {
			property, known := s.Properties[name]
			if !known && s.AdditionalProperties != nil && !*s.AdditionalProperties {
				complain("unknown %s", name)
			}
			problems = append(problems, property.check(path+"."+name, member)...)
		}
	case []any:
		if s.MinItems != nil && len(v) < *s.MinItems || s.MaxItems != nil && len(v) > *s.MaxItems {
			complain("%d items", len(v))
		}
		for i, item := range v {
			if s.Items != nil {
				problems = append(problems, s.Items.check(fmt.Sprintf("%s[%d]", path, i), item)...)
			}
		}
	case string:
		if !regexp.MustCompile(s.Pattern).MatchString(v) {
			complain("%q does not match %s", v, s.Pattern)
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum {
			complain("%v is less than %v", v, *s.Minimum)
		}
	}
	return problems
}

func isA(value any, kind string) bool {
	switch v := value.(type) {
	case map[string]any:
		return kind == "object"
	case []any:
		return kind == "array"
	case string:
		return kind == "string"
	case float64:
		return kind == "number" || kind == "integer" && v == float64(int64(v))
	case bool:
		return kind == "boolean"
	}
	return kind == "null"
}
