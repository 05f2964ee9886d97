// Package telemetry sets up what a process tells about itself.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is read from the environment.
type Config struct {
	LogFormat string     `envconfig:"LOG_FORMAT" default:"json"` // json or text
	LogLevel  slog.Level `envconfig:"LOG_LEVEL" default:"info"`  // debug, info, warn, error
}

// Validate refuses an unknown log format.
func (cfg *Config) Validate() error {
	if cfg.LogFormat != "json" && cfg.LogFormat != "text" {
		return fmt.Errorf("LOG_FORMAT is %q: want json or text", cfg.LogFormat)
	}
	return nil
}

// Setup makes slog's default logger write to w, each line naming the program.
func Setup(cfg Config, program string, w io.Writer) {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if cfg.LogFormat == "text" {
		handler = slog.NewTextHandler(w, options)
	}
	slog.SetDefault(slog.New(handler).With("program", program))
}

// Handler serves the process's metrics in Prometheus's text format.
func Handler() http.Handler { return promhttp.Handler() }
