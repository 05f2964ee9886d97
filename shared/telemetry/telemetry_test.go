package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/chainmetrics/chainmetrics/shared/annotation"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

func TestLinesNameTheirContext(t *testing.T) {
	t.Parallel()
	spanContext := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 2}})
	inTrace := trace.ContextWithSpanContext(t.Context(), spanContext)
	tests := map[string]struct {
		ctx  context.Context
		want map[string]any
	}{
		"nothing": {t.Context(), map[string]any{}},
		"trace": {inTrace, map[string]any{
			"trace_id": "00000000000000000000000000000001", "span_id": "0000000000000002",
		}},
		"run": {annotation.With(t.Context(), slog.String("run_id", "7")), map[string]any{"run_id": "7"}},
		"more of a run": {
			annotation.With(annotation.With(t.Context(), slog.String("run_id", "7")), slog.String("metric", "fees")),
			map[string]any{"run_id": "7", "metric": "fees"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			logger := slog.New(telemetry.NewHandler(telemetry.Config{LogFormat: "json"}, &log)).With("program", "test")
			logger.InfoContext(tt.ctx, "said", "more", "x")
			var line map[string]any
			if err := json.Unmarshal(log.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			tt.want["program"], tt.want["more"], tt.want["msg"], tt.want["level"] = "test", "x", "said", "INFO"
			delete(line, "time")
			if diff := cmp.Diff(tt.want, line); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	wrong := telemetry.Config{
		LogFormat: "xml", Endpoint: "collector:4318", TracesEndpoint: "grpc://collector", Protocol: "grpc", TracesExporter: "zipkin",
	}
	err := wrong.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{
		"LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL",
		"OTEL_TRACES_EXPORTER",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
	right := telemetry.Config{LogFormat: "text", Endpoint: "http://collector:4318/", Protocol: "http/protobuf", TracesExporter: "none"}
	if err := right.Validate(); err != nil {
		t.Error(err)
	}
}
