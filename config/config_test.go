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
