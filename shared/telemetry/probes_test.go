package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/telemetry"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
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

func TestServeProbesUntilTheEnd(t *testing.T) {
	t.Parallel()
	port := pipeline.FreePort(t)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked, answer := make(chan struct{}), make(chan struct{})
	ready := func() error { //nolint:unparam // one question, which is not answered at once
		close(asked)
		<-answer
		return nil
	}
	served := make(chan error, 1)
	cfg := telemetry.ProbesConfig{Host: "127.0.0.1", Port: number}
	go func() { served <- telemetry.ServeProbes(ctx, cfg, ready) }()
	get := func(path string) (status int, err error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+path, nil)
		if err != nil {
			return 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	pipeline.Eventually(t, 10*time.Second, "probes are served", func() bool {
		status, err := get("/healthz")
		return err == nil && status == http.StatusOK
	})
	answered := make(chan int, 1)
	go func() {
		status, err := get("/readyz")
		if err != nil {
			t.Error(err)
		}
		answered <- status
	}()
	<-asked
	cancel() // while an answer is due
	pipeline.Eventually(t, 10*time.Second, "no new question is taken", func() bool {
		_, err := get("/healthz")
		return err != nil
	})
	close(answer)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the answer that was due is %d", status)
	}
	if err := <-served; err != nil {
		t.Errorf("served with %v", err)
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
