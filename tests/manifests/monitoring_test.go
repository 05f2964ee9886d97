package manifests_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/yaml"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/chainmetrics/chainmetrics/config"
)

// podMonitor is what the tests look at of the Prometheus Operator's kind.
type podMonitor struct {
	metav1.TypeMeta
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		Selector            metav1.LabelSelector
		PodMetricsEndpoints []struct{ Port string }
	}
}

// userPort is what Knative calls the port of a container, whatever its Service calls it.
const userPort = "user-port"

// TestEveryProgramIsScraped: the PodMonitors of the base monitoring select each pod of the overlay production that exports metrics
// once, by a port that it has.
func TestEveryProgramIsScraped(t *testing.T) {
	t.Parallel()
	manifests, err := config.RenderBase("monitoring")
	if err != nil {
		t.Fatal(err)
	}
	var monitors []podMonitor
	for reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var m podMonitor
		if err := yaml.Unmarshal(document, &m); err != nil {
			t.Fatal(err)
		}
		if m.Namespace != namespace {
			t.Errorf("%s %s is in namespace %q", m.Kind, m.Name, m.Namespace)
		}
		if m.Kind == "PodMonitor" {
			monitors = append(monitors, m)
		}
	}
	objects, _ := decode(rendered(t, "production"))
	scraped := 0
	for _, p := range templates(objects) {
		var ports []string
		for _, c := range p.containers() {
			for _, port := range c.Ports {
				ports = append(ports, port.Name)
			}
		}
		if len(ports) == 0 { // a Job
			continue
		}
		of := labels.Set(p.meta.Labels)
		if s, ok := p.owner.(*servingv1.Service); ok {
			of = labels.Merge(of, labels.Set{"serving.knative.dev/service": s.Name})
			ports = []string{userPort}
		}
		times := 0
		for _, m := range monitors {
			selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
			if err != nil {
				t.Fatal(err)
			}
			if selector.Matches(of) && len(m.Spec.PodMetricsEndpoints) == 1 && slices.Contains(ports, m.Spec.PodMetricsEndpoints[0].Port) {
				times++
			}
		}
		if times != 1 {
			t.Errorf("%s is scraped %d times, want once", title(p.owner), times)
		}
		scraped++
	}
	if scraped < 10 || len(monitors) != 2 {
		t.Errorf("%d workloads, %d PodMonitors", scraped, len(monitors))
	}
}
