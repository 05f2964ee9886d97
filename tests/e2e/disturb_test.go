//go:build e2e

package e2e_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// loading does something while blocks are being applied, and waits until more are applied afterwards.
func (s *system) loading(do func()) string {
	s.Helper()
	before := s.applied()
	do()
	during := s.applied()
	if before <= firstPart || during >= pipeline.SampleBlocks {
		s.Fatalf("it was not in the middle of a load: %d blocks applied before, %d after", before, during)
	}
	pipeline.Eventually(s.T, patience, "it goes on", func() bool { return s.applied() > during })
	return fmt.Sprintf("at block %d; it goes on from %d", before, during)
}

// streamed are the functions that entries keep awake.
func streamed() []string {
	names := []string{"archive"}
	for _, kind := range functions.Definitions() {
		names = append(names, kind.Name)
	}
	return names
}

// services are all functions.
func services(s *system) []string {
	return strings.Fields(kubectl(s.T, "get", "services.serving.knative.dev", "--output=jsonpath={.items[*].metadata.name}"))
}

// removeFunctions deletes the pods of all functions as if their nodes were gone. Those of the stream must come again.
func (s *system) removeFunctions() string {
	return s.loading(func() {
		var awake []string
		for _, name := range streamed() {
			awake = append(awake, "serving.knative.dev/service="+name)
		}
		s.replace(awake, func() {
			if present := pods(s.T, "serving.knative.dev/service"); len(present) > 0 {
				kubectl(s.T, append([]string{"delete", "pods", "--force", "--grace-period=0", "--ignore-not-found"}, present...)...)
			}
		})
	})
}

func sourcePods() (selectors []string) {
	for _, name := range streamed() {
		selectors = append(selectors, "app.kubernetes.io/name="+name+"-source")
	}
	return selectors
}

func (s *system) removeSources() string {
	return s.loading(func() {
		s.replace(sourcePods(), func() {
			for _, selector := range sourcePods() {
				kubectl(s.T, "delete", "pods", "--force", "--grace-period=0", "--selector="+selector)
			}
		})
	})
}

// replace waits until, of each kind of pods, there are others than before, which are ready.
func (s *system) replace(selectors []string, do func()) {
	s.Helper()
	before := map[string][]string{}
	for _, selector := range selectors {
		before[selector] = pods(s.T, selector)
		if len(before[selector]) == 0 {
			s.Fatalf("there is no pod %s", selector)
		}
	}
	do()
	for _, selector := range selectors {
		var after []string
		pipeline.Eventually(s.T, patience, "another pod comes for "+selector, func() bool {
			after = slices.DeleteFunc(pods(s.T, selector), func(name string) bool { return slices.Contains(before[selector], name) })
			return len(after) > 0
		})
		kubectl(s.T, append([]string{"wait", "--for=condition=Ready", "--timeout", patience.String(), "pods"}, after...)...)
	}
}

func (s *system) updateFunctions() string {
	return s.loading(func() {
		revision := func(name string) string {
			return kubectl(s.T, "get", "services.serving.knative.dev", name, "--output=jsonpath={.status.latestReadyRevisionName}")
		}
		for _, name := range services(s) { // one by one: two revisions of each would not fit into a small cluster
			before := revision(name)
			kubectl(s.T, "patch", "services.serving.knative.dev", name, "--type=json",
				`--patch=[{"op": "add", "path": "/spec/template/metadata/annotations/e2e", "value": "updated"}]`)
			pipeline.Eventually(s.T, patience, "a new revision of "+name+" is ready", func() bool { return revision(name) != before })
		}
	})
}

func (s *system) updateSources() string {
	return s.loading(func() {
		s.replace(sourcePods(), func() {
			for _, name := range streamed() {
				kubectl(s.T, "rollout", "restart", "deployment/"+name+"-source")
			}
		})
		for _, name := range streamed() {
			kubectl(s.T, "rollout", "status", "deployment/"+name+"-source", "--timeout", patience.String())
		}
	})
}
