package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	headerTimeout = 5 * time.Second
	drainTimeout  = 2 * time.Second
)

// ProbesConfig is read from the environment.
type ProbesConfig struct {
	Host string `envconfig:"LISTEN_HOST"`                 // default: all interfaces
	Port int    `envconfig:"METRICS_PORT" default:"9090"` // 0: nothing is served
}

// Validate refuses what is no port.
func (cfg *ProbesConfig) Validate() error {
	if cfg.Port < 0 || cfg.Port > 65535 {
		return fmt.Errorf("METRICS_PORT is %d: want 0 to 65535", cfg.Port)
	}
	return nil
}

// ServeProbes answers /healthz, /readyz and /metrics, for a program that has no port of its own, until ctx ends.
func ServeProbes(ctx context.Context, cfg ProbesConfig, ready func() error) error {
	if cfg.Port == 0 {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)))
	if err != nil {
		return fmt.Errorf("serve probes: %w", err)
	}
	server := &http.Server{Handler: Probes(ready), ReadHeaderTimeout: headerTimeout}
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		drained <- server.Shutdown(drain)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve probes: %w", err)
	}
	return <-drained
}

// Probes gives the routes /healthz, which always answers 200; /readyz, which answers 503 with the reason while ready
// fails; and /metrics in Prometheus's text format.
func Probes(ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.Handle("GET /metrics", Handler())
	return mux
}
