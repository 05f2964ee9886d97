// Package telemetry sets up what a process tells about itself.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is read from the environment. What OpenTelemetry's own variables say beyond it, its SDK reads.
type Config struct {
	LogFormat string     `envconfig:"LOG_FORMAT" default:"json"` // json or text
	LogLevel  slog.Level `envconfig:"LOG_LEVEL" default:"info"`  // debug, info, warn, error

	Endpoint       string `envconfig:"OTEL_EXPORTER_OTLP_ENDPOINT"`        // URL of a collector; without one nothing is traced
	TracesEndpoint string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"` // URL for traces alone, as it is
	Protocol       string `envconfig:"OTEL_EXPORTER_OTLP_PROTOCOL" default:"http/protobuf"`
	TracesExporter string `envconfig:"OTEL_TRACES_EXPORTER" default:"otlp"` // otlp or none
	Disabled       bool   `envconfig:"OTEL_SDK_DISABLED"`
}

// Validate names everything that is wrong.
func (cfg *Config) Validate() error {
	var wrong []error
	if cfg.LogFormat != "json" && cfg.LogFormat != "text" {
		wrong = append(wrong, fmt.Errorf("LOG_FORMAT is %q: want json or text", cfg.LogFormat))
	}
	if !isEndpoint(cfg.Endpoint) {
		wrong = append(wrong, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT is no http or https URL"))
	}
	if !isEndpoint(cfg.TracesEndpoint) {
		wrong = append(wrong, errors.New("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no http or https URL"))
	}
	if cfg.Protocol != "" && cfg.Protocol != "http/protobuf" {
		wrong = append(wrong, errors.New("OTEL_EXPORTER_OTLP_PROTOCOL: want http/protobuf, the only one here"))
	}
	if cfg.TracesExporter != "" && cfg.TracesExporter != "otlp" && cfg.TracesExporter != "none" {
		wrong = append(wrong, errors.New("OTEL_TRACES_EXPORTER: want otlp or none"))
	}
	return errors.Join(wrong...)
}

func isEndpoint(text string) bool {
	if text == "" {
		return true
	}
	address, err := url.Parse(text)
	return err == nil && address.Host != "" && (address.Scheme == "http" || address.Scheme == "https")
}

// traces tells whether there is a collector to send traces to.
func (cfg *Config) traces() bool {
	return (cfg.Endpoint != "" || cfg.TracesEndpoint != "") && cfg.TracesExporter != "none" && !cfg.Disabled
}

// Setup makes slog's default logger write to w, each line naming the program, and has spans sent to the collector, where the
// configuration names one. What stop gives to the collector before it returns, it has some seconds for; it must be called at the
// process's end.
func Setup(ctx context.Context, cfg Config, program string, w io.Writer) (stop func(), err error) {
	slog.SetDefault(slog.New(NewHandler(cfg, w)).With("program", program))
	if !cfg.traces() {
		return func() {}, nil
	}
	return export(ctx, program)
}

// Handler serves the process's metrics in Prometheus's text format.
func Handler() http.Handler { return promhttp.Handler() }
