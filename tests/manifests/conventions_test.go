package manifests_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/chainmetrics/chainmetrics/events"
)

const (
	namespace   = "blockchain-metrics"
	partOf      = "app.kubernetes.io/part-of"
	project     = "chainmetrics"
	metricType  = "metric-type"
	function    = "function"
	visibility  = "networking.knative.dev/visibility"
	autoscaling = "autoscaling.knative.dev/"
)

// labelled: every object and pod is in our namespace and can be found by our labels.
func labelled(objects []object) []error {
	var found findings
	for _, o := range objects {
		if _, ok := o.(*corev1.Namespace); ok {
			if o.GetName() != namespace {
				found.add(title(o), "want the name %s", namespace)
			}
		} else if o.GetNamespace() != namespace {
			found.add(title(o), "namespace %q, want %s", o.GetNamespace(), namespace)
		}
		if o.GetLabels()[partOf] != project {
			found.add(title(o), "no label %s=%s", partOf, project)
		}
		switch o.(type) {
		case *servingv1.Service, *eventingv1.Trigger, *sourcesv1.PingSource, *sourcesv1.SinkBinding:
			if o.GetLabels()[metricType] == "" && o.GetLabels()[function] == "" {
				found.add(title(o), "no label %s or %s", metricType, function)
			}
		}
	}
	for _, p := range templates(objects) {
		if p.meta.Labels[partOf] != project {
			found.add(title(p.owner), "no label %s=%s on its pods", partOf, project)
		}
	}
	for _, source := range of[*sourcesv1.PingSource](objects) {
		if source.Spec.CloudEventOverrides == nil {
			continue // the check of the wiring says so
		}
		for label, extension := range map[string]string{
			function: "function", "metric": "metric", metricType: "metrictype", "bucket": "bucketsize", "complexity": "complexity",
		} {
			if have, want := source.Labels[label], source.Spec.CloudEventOverrides.Extensions[extension]; have != want {
				found.add(title(source), "label %s=%q, but extension %s=%q", label, have, extension, want)
			}
		}
	}
	return found
}

// scales are how many pods a metric type may have by the clock, by complexity: ten in all, each with two connections to Postgres.
var scales = map[string]string{"small": "6", "medium": "3", "large": "1"}

// served: functions are served as the design says. A stream Service is one that a source is bound to, a run Service one
// that a Trigger calls. Ticks for a function that computes no metrics are little work, and go to its stream Service if it has one.
func served(objects []object) []error {
	var found findings
	for _, s := range of[*servingv1.Service](objects) {
		where := title(s)
		annotations := s.Spec.Template.Annotations
		if s.Labels[visibility] != "cluster-local" {
			found.add(where, "it can be called from outside the cluster: want label %s=cluster-local", visibility)
		}
		var want service
		calls := callers(s, objects)
		switch stream := bound(s, objects); {
		case stream && forFunction(calls):
			want = service{"1", 0, 60}
		case stream == (len(calls) > 0):
			found.add(where, "it is neither the sink of a SinkBinding nor the subscriber of a Trigger, or both")
			continue
		case listens(calls):
			want = service{"1", 10, 60}
		case forFunction(calls):
			want = service{"1", 1, 60}
		default:
			want = service{scales[s.Labels["complexity"]], 1, 330}
			if s.Labels["app.kubernetes.io/instance"] == "local" { // a small cluster has no room for more
				want.maxScale = "1"
			}
		}
		have := service{
			annotations[autoscaling+"max-scale"], value(s.Spec.Template.Spec.ContainerConcurrency),
			value(s.Spec.Template.Spec.TimeoutSeconds),
		}
		if have != want {
			found.add(where, "max-scale %s, containerConcurrency %d, timeoutSeconds %d, want %s, %d, %d", have.maxScale,
				have.concurrency, have.timeout, want.maxScale, want.concurrency, want.timeout)
		}
		timeout := fmt.Sprintf("PT%dS", want.timeout)
		for _, trigger := range calls { // a shorter one would send again what is still being worked on
			if d := trigger.Spec.Delivery; d == nil || d.Timeout == nil || *d.Timeout != timeout {
				found.add(title(trigger), "want delivery.timeout %s, as %s has it", timeout, where)
			}
		}
	}
	return found
}

// forFunction tells whether all that Triggers let through are ticks for a function, or notices.
func forFunction(calls []*eventingv1.Trigger) bool {
	return !slices.ContainsFunc(calls, func(t *eventingv1.Trigger) bool {
		return t.Spec.Filter == nil ||
			t.Spec.Filter.Attributes[events.ExtensionFunction] == "" && events.Wakes(t.Spec.Filter.Attributes["type"])
	})
}

// listens tells whether a Trigger lets through what happens to runs: then many events come at once, beside ticks.
func listens(calls []*eventingv1.Trigger) bool {
	return slices.ContainsFunc(calls, func(t *eventingv1.Trigger) bool {
		return t.Spec.Filter != nil && t.Spec.Filter.Attributes["type"] == events.TypeRunFailed
	})
}

// service is how a Knative Service scales and answers; -1 is what is not set.
type service struct {
	maxScale             string
	concurrency, timeout int64
}

// value gives a number, or -1 where there is none.
func value(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// bound tells whether a source is bound to a Service.
func bound(s *servingv1.Service, objects []object) bool {
	return slices.ContainsFunc(of[*sourcesv1.SinkBinding](objects), func(b *sourcesv1.SinkBinding) bool {
		return exists(b.Spec.Sink, b.Namespace, []object{s})
	})
}

// callers gives the Triggers that call a Service.
func callers(s *servingv1.Service, objects []object) []*eventingv1.Trigger {
	return slices.DeleteFunc(of[*eventingv1.Trigger](objects), func(t *eventingv1.Trigger) bool {
		return !exists(t.Spec.Subscriber, t.Namespace, []object{s})
	})
}

var (
	row  = regexp.MustCompile(`(?m)^\| ([A-Z][A-Z0-9_, ]*) \|`) // the first column of a table of variables
	word = regexp.MustCompile(`[A-Z][A-Z0-9]*(_[A-Z0-9]+)*`)
	// redisVariable is a variable in the text of docs/redis.md.
	redisVariable = regexp.MustCompile(`\bREDIS_[A-Z]+(_[A-Z]+)*`)
)

// documented gives a check: every variable that the manifests set for a program of ours, by itself or by a Secret, stands in
// the documentation; nobody reads another.
func documented(configuration, redis string) func([]object) []error {
	known := map[string]bool{}
	for _, cell := range row.FindAllStringSubmatch(configuration, -1) {
		for _, name := range word.FindAllString(cell[1], -1) {
			known[name] = true
		}
	}
	for _, name := range redisVariable.FindAllString(redis, -1) {
		known[name] = true
	}
	return func(objects []object) []error {
		var found findings
		for _, p := range templates(objects) {
			for _, c := range p.containers() {
				if !strings.HasPrefix(c.Image, koScheme) {
					continue
				}
				for _, v := range c.Env {
					if !known[v.Name] {
						found.add(title(p.owner)+" container "+c.Name, "variable %s is not documented", v.Name)
					}
				}
			}
		}
		for _, s := range of[*corev1.Secret](objects) {
			for name := range s.StringData {
				if !known[name] {
					found.add(title(s), "variable %s is not documented", name)
				}
			}
			for name := range s.Data {
				if !known[name] {
					found.add(title(s), "variable %s is not documented", name)
				}
			}
		}
		return found
	}
}

// needs are the Secrets that a program needs, by its package: where its servers are. That of notify is optional, and so is that of the
// other databases, which the Services of runs have as well.
var needs = map[string][]string{
	"cmd/chainmetrics":     {"postgres"},
	"events/feed":          {"postgres", "redis"},
	"events/source":        {"redis"},
	"examples/samplechain": nil,
	"functions/archive":    {"postgres", "redis"},
	"functions/counter":    {"postgres"},
	"functions/gauge":      {"postgres"},
	"functions/histogram":  {"postgres"},
	"functions/notify":     {"notify", "postgres"},
	"functions/planner":    {"postgres"},
	"functions/scheduler":  {"postgres"},
	"tests/e2e/inbox":      nil,
}

// connections is the Secret with the URLs of other databases.
const connections = "metrics-connections"

// shipped are the programs of a release: all but those of tests.
func shipped() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(needs)), func(program string) bool { return strings.HasPrefix(program, "tests/") })
}

// provided: every program of ours is given the Secrets that it needs, and no others.
func provided(objects []object) []error {
	var found findings
	for _, p := range templates(objects) {
		for _, c := range p.containers() {
			program, ok := strings.CutPrefix(c.Image, koScheme+module+"/")
			if !ok {
				continue
			}
			where := title(p.owner) + " container " + c.Name
			want, ok := needs[program]
			if !ok {
				found.add(where, "no entry in needs for %s", program)
			}
			var have []string
			for _, from := range c.EnvFrom {
				if from.SecretRef == nil {
					continue
				}
				have = append(have, from.SecretRef.Name)
				optional := from.SecretRef.Optional != nil && *from.SecretRef.Optional
				if want := from.SecretRef.Name == "notify" || from.SecretRef.Name == connections; optional != want {
					found.add(where, "the Secret %s is optional: %t, want %t", from.SecretRef.Name, optional, want)
				}
			}
			if p.meta.Labels["complexity"] != "" {
				want = slices.Sorted(slices.Values(append([]string{connections}, want...)))
			}
			slices.Sort(have)
			if !slices.Equal(have, want) {
				found.add(where, "it has the Secrets %q, %s needs %q", have, program, want)
			}
		}
	}
	return found
}
