// Package monitoring_test tests the alerts and dashboards of config/monitoring by what Prometheus makes of them. It is a module of
// its own, since none of Prometheus belongs into a program of ours.
package monitoring_test

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const folder = "../../config/monitoring/"

var promQL = parser.NewParser(parser.Options{})

// read gives a file of the repository.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// rules gives all alerts, as Prometheus reads them.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	var object struct{ Spec yaml.Node }
	if err := yaml.Unmarshal(read(t, folder+"200-prometheusrule.yaml"), &object); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(&object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Fatal(err)
	}
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

var metricRow = regexp.MustCompile("(?m)^\\| `(chainmetrics_[a-z_]+)` \\| (\\w+) \\|")

// documented gives the names of the series that docs/metrics.md has.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, row := range metricRow.FindAllSubmatch(read(t, "../../docs/metrics.md"), -1) {
		name := string(row[1])
		names[name] = true
		if string(row[2]) == "histogram" {
			names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
		}
	}
	return names
}

// unknown gives the series of an expression that are documented nowhere, and fails where it is none.
func unknown(t *testing.T, expression string, known map[string]bool) (names []string) {
	t.Helper()
	parsed, err := promQL.ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v", expression, err)
		return nil
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok && !known[selector.Name] {
			names = append(names, selector.Name)
		}
		return nil
	})
	return names
}

// TestAlerts have what a person who is woken needs.
func TestAlerts(t *testing.T) {
	t.Parallel()
	known := documented(t)
	operations := read(t, "../../docs/operations.md")
	for _, rule := range rules(t) {
		name := rule.Alert
		if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" && severity != "info" {
			t.Errorf("%s has severity %q", name, severity)
		}
		for _, annotation := range []string{"summary", "description"} {
			if rule.Annotations[annotation] == "" {
				t.Errorf("%s has no %s", name, annotation)
			}
		}
		anchor := "docs/operations.md#" + strings.ToLower(name)
		if !strings.HasSuffix(rule.Annotations["runbook_url"], "/"+anchor) {
			t.Errorf("%s has runbook_url %q, want %s", name, rule.Annotations["runbook_url"], anchor)
		}
		if !bytes.Contains(operations, []byte("# "+name+"\n")) {
			t.Errorf("docs/operations.md does not say what to do about %s", name)
		}
		if !strings.HasPrefix(name, "Chainmetrics") {
			t.Errorf("%s is not named after us", name)
		}
		for _, series := range unknown(t, rule.Expr, known) {
			t.Errorf("%s asks for %s, which is not in docs/metrics.md", name, series)
		}
		if time.Duration(rule.For) > 6*time.Hour {
			t.Errorf("%s waits for %s", name, rule.For)
		}
	}
}
