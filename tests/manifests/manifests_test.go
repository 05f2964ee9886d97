// Package manifests_test tests the manifests of config/ without a cluster: with the types and the validation of Kubernetes
// and Knative, and with the packages of this project that they are for. It is a module of its own, since those types are
// many and none of them belongs into a program of ours.
package manifests_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chainmetrics/chainmetrics/config"
)

// check says what is wrong with the objects of a rendering.
type check struct {
	in  []string // renderings that it is for; empty: all
	run func([]object) []error
}

// checks gives all checks by name.
func checks(t *testing.T) map[string]check {
	t.Helper()
	var text [2]string
	for i, name := range []string{"configuration.md", "redis.md"} {
		data, err := os.ReadFile(filepath.Join(repository, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(data)
	}
	return map[string]check{
		"accepted":   {run: accepted},
		"admitted":   {run: admitted},
		"authorised": {run: authorised},
		"buildable":  {run: buildable},
		"confined":   {run: confined},
		"documented": {run: documented(text[0], text[1])},
		"labelled":   {run: labelled},
		"probed":     {run: probed},
		"provided":   {run: provided},
		"referenced": {run: referenced},
		"served":     {run: served},
		"told":       {in: append(config.Overlays(), e2eOverlay), run: told},
		"wired":      {run: wired},
		"local":      {in: []string{"local"}, run: local},
		"production": {in: []string{"production"}, run: production},
		"durable":    {in: []string{"local", redisBase}, run: durable},
		"replicated": {in: []string{redisBase}, run: replicated},
	}
}

func TestManifests(t *testing.T) {
	t.Parallel()
	all := checks(t)
	for _, name := range renderings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, errs := decode(rendered(t, name))
			for _, err := range errs {
				t.Error(err)
			}
			for checked, c := range all {
				if len(c.in) > 0 && !slices.Contains(c.in, name) {
					continue
				}
				t.Run(checked, func(t *testing.T) {
					for _, err := range c.run(objects) {
						t.Error(err)
					}
				})
			}
		})
	}
}

// TestOverlaysHaveWhatIsTested keeps the other tests from passing for want of objects.
func TestOverlaysHaveWhatIsTested(t *testing.T) {
	t.Parallel()
	always := []string{
		"Broker/metrics", "Deployment/counter-source", "Job/migrate", "Namespace/" + namespace, "PingSource/planner",
		"PingSource/metric-counter-small-10-minutely", "ConfigMap/metrics-config-gauge-large", "Service/planner", "Role/planner",
		"RoleBinding/planner", "ServiceAccount/planner", "Trigger/planner", "Trigger/planner-changes", "Service/counter", "Service/counter-small", "SinkBinding/counter-source",
		"Trigger/counter-small", "Service/counter-medium", "Service/counter-large", "Service/scheduler", "PingSource/sweep",
		"SinkBinding/scheduler", "Trigger/scheduler", "Trigger/counter-large-runs", "Service/notify", "PingSource/notify",
		"Trigger/notify", "Trigger/notify-run-failed",
	}
	for overlay, more := range map[string][]string{
		"local": {
			"Job/sample", "Secret/postgres", "Secret/redis", "Service/postgres", "Service/redis", "StatefulSet/postgres",
			"StatefulSet/redis",
		},
		"production": {"NetworkPolicy/deny-ingress", "PodDisruptionBudget/counter-source"},
	} {
		objects, _ := decode(rendered(t, overlay))
		var have []string
		for _, o := range objects {
			have = append(have, title(o))
		}
		for _, want := range slices.Concat(always, more) {
			if !slices.Contains(have, want) {
				t.Errorf("%s has no %s", overlay, want)
			}
		}
	}
}
