package config_test

import (
	"bytes"
	"testing"

	"github.com/chainmetrics/chainmetrics/config"
)

func TestEveryOverlayRenders(t *testing.T) {
	for _, overlay := range config.Overlays() {
		manifests, err := config.Render(overlay)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(manifests, []byte("ko://github.com/chainmetrics/chainmetrics/functions/counter")) {
			t.Errorf("%s has no counter:\n%s", overlay, manifests)
		}
	}
}

func TestUnknownOverlayIsRefused(t *testing.T) {
	if manifests, err := config.Render("staging"); err == nil {
		t.Errorf("it renders:\n%s", manifests)
	}
}

func TestMonitoringRenders(t *testing.T) {
	manifests, err := config.RenderBase("monitoring")
	if err != nil {
		t.Fatal(err)
	}
	for object, count := range map[string]int{
		"kind: PodMonitor": 2, "kind: PrometheusRule": 1, "kind: ConfigMap": 2, `grafana_dashboard: "1"`: 2,
		"namespace: blockchain-metrics": 5, "app.kubernetes.io/component: monitoring": 5,
	} {
		if got := bytes.Count(manifests, []byte("\n"+object)) + bytes.Count(manifests, []byte("  "+object)); got != count {
			t.Errorf("%d times %s, want %d:\n%s", got, object, count, manifests)
		}
	}
}
