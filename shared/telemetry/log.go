package telemetry

import (
	"context"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"github.com/chainmetrics/chainmetrics/shared/annotation"
)

// NewHandler writes lines to w. Those that are logged with a context name its trace and span, and what its work is annotated
// with, such as the ids of a run.
func NewHandler(cfg Config, w io.Writer) slog.Handler {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "text" {
		return contextual{slog.NewTextHandler(w, options)}
	}
	return contextual{slog.NewJSONHandler(w, options)}
}

// contextual adds to each line what its context says.
type contextual struct{ slog.Handler }

// Handle implements slog.Handler.
func (h contextual) Handle(ctx context.Context, record slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	annotations := annotation.Of(ctx)
	if !span.IsValid() && len(annotations) == 0 {
		return h.Handler.Handle(ctx, record)
	}
	record = record.Clone()
	record.AddAttrs(annotations...)
	if span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h contextual) WithAttrs(attributes []slog.Attr) slog.Handler {
	return contextual{h.Handler.WithAttrs(attributes)}
}

// WithGroup implements slog.Handler.
func (h contextual) WithGroup(name string) slog.Handler { return contextual{h.Handler.WithGroup(name)} }
