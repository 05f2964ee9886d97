package monitoring_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dashboard is what the tests look at of Grafana's model.
type dashboard struct {
	UID, Title string
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
	Panels []struct {
		ID          int
		Title, Type string
		Datasource  struct{ Type, UID string }
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr, RawSQL string }
	}
}

var (
	variable    = regexp.MustCompile(`\$\{?([a-z_]+)`)
	labelValues = regexp.MustCompile(`^label_values\((.*), [a-z_]+\)$`)
)

// TestDashboards can be read, ask for what there is, and for variables that they have. tests/integration runs their SQL.
func TestDashboards(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(folder + "dashboards/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("%q, %v", files, err)
	}
	known := documented(t)
	for _, file := range files {
		var d dashboard
		if err := json.Unmarshal(read(t, file), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if d.UID == "" || d.Title == "" || len(d.Panels) == 0 {
			t.Errorf("%s has no uid, title or panels", file)
		}
		variables := map[string]bool{"__rate_interval": true, "__timeFilter": true}
		var expressions, texts []string
		for _, v := range d.Templating.List {
			variables[v.Name] = true
			texts = append(texts, v.Query)
			if values := labelValues.FindStringSubmatch(v.Query); values != nil {
				expressions = append(expressions, values[1])
			}
		}
		seen := map[int]bool{}
		for i, p := range d.Panels {
			if seen[p.ID] || len(p.Targets) == 0 || p.Title == "" || p.Datasource.UID != "${datasource}" {
				t.Errorf("%s: panel %d %q: its id comes twice, it asks nothing, or not the data source that is chosen", file, p.ID, p.Title)
			}
			seen[p.ID] = true
			for _, other := range d.Panels[:i] {
				a, b := p.GridPos, other.GridPos
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: panels %d and %d overlap", file, p.ID, other.ID)
				}
			}
			for _, target := range p.Targets {
				texts = append(texts, target.Expr, target.RawSQL)
				if target.Expr != "" {
					expressions = append(expressions, target.Expr)
				}
			}
		}
		for _, text := range texts {
			for _, used := range variable.FindAllStringSubmatch(text, -1) {
				if name := used[1]; !variables[name] && !strings.HasPrefix(name, "__time") {
					t.Errorf("%s: there is no variable %s for %s", file, name, text)
				}
			}
		}
		for _, expression := range expressions {
			expression = strings.ReplaceAll(expression, "$__rate_interval", "5m")
			for _, series := range unknown(t, expression, known) {
				t.Errorf("%s asks for %s, which is not in docs/metrics.md", file, series)
			}
		}
	}
}
