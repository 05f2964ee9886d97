package cluster_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/chainmetrics/chainmetrics/config"
)

// TestRoleAllowsWhatIsAsked: no more and no less than the requests of a planner that creates, changes, and prunes.
func TestRoleAllowsWhatIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, definition("gas", "daily"))
	w.pass(t)
	w.server.put(t, "pingsources", "metric-gas-daily", "kubectl", "spec: {schedule: 1 1 1 1 1}")
	w.pass(t)
	if _, err := w.store.DeleteMetric(t.Context(), "gas"); err != nil {
		t.Fatal(err)
	}
	w.pass(t)
	var asked []string
	for request := range w.server.counts() {
		asked = append(asked, request)
	}
	slices.Sort(asked)
	if diff := cmp.Diff(allowed(t), asked); diff != "" {
		t.Errorf("what the Role allows and what is asked (-allowed +asked)\n%s", diff)
	}
}

// allowed gives what the Role of the manifests allows, as verbs and resources.
func allowed(t *testing.T) (all []string) {
	t.Helper()
	manifests, err := config.Render("production")
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(manifests)); ; {
		var o struct {
			Kind  string
			Rules []struct {
				APIGroups     []string `yaml:"apiGroups"`
				Resources     []string
				ResourceNames []string `yaml:"resourceNames"`
				Verbs         []string
			}
		}
		err := decoder.Decode(&o)
		if err == io.EOF { //nolint:errorlint // as it is
			slices.Sort(all)
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range o.Rules {
			if o.Kind != "Role" || len(rule.APIGroups) != 1 || len(rule.Resources) != 1 {
				t.Fatalf("%s has rule %+v", o.Kind, rule)
			}
			if rule.Resources[0] == "services" && !slices.Equal(rule.ResourceNames, []string{"planner"}) {
				t.Errorf("the rule of Services is about %q", rule.ResourceNames)
			}
			for _, verb := range rule.Verbs {
				all = append(all, verb+" "+strings.TrimSuffix(rule.Resources[0]+"."+rule.APIGroups[0], "."))
			}
		}
	}
}
