package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

func TestProbes(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	probes := telemetry.Probes(func() error {
		if !ready.Load() {
			return errors.New("not yet")
		}
		return nil
	})
	get := func(path string) *httptest.ResponseRecorder {
		recorder := httptest.NewRecorder()
		probes.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return recorder
	}
	if got := get("/readyz"); got.Code != http.StatusServiceUnavailable || !strings.Contains(got.Body.String(), "not yet") {
		t.Errorf("/readyz gives %d %q", got.Code, got.Body)
	}
	ready.Store(true)
	for _, path := range []string{"/readyz", "/healthz", "/metrics"} {
		if got := get(path); got.Code != http.StatusOK {
			t.Errorf("%s gives %d", path, got.Code)
		}
	}
	if got := get("/metrics").Body.String(); !strings.Contains(got, "go_goroutines") {
		t.Errorf("/metrics gives %q", got)
	}
}

func TestServeProbes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := telemetry.ServeProbes(ctx, telemetry.ProbesConfig{}, nil); err != nil {
		t.Errorf("port 0: %v", err)
	}
	if err := telemetry.ServeProbes(ctx, telemetry.ProbesConfig{Host: "256.0.0.1", Port: 1}, nil); err == nil {
		t.Error("an address that is none is served")
	}
}
