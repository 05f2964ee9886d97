package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	flushTime = 3 * time.Second // for what is left at the end of a process
	quietTime = time.Minute     // between two lines that say that spans are lost
)

// export has the spans of this process sent to a collector. They wait in a queue of bounded length: where the collector is away
// or slow, those for which there is no room are lost, and nothing waits for it.
func export(ctx context.Context, program string) (stop func(), err error) {
	otel.SetErrorHandler(&complaints{})
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up traces: %w", err)
	}
	// A later detector goes before an earlier one: OTEL_SERVICE_NAME, then OTEL_RESOURCE_ATTRIBUTES, then the program's name.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", program)), resource.WithFromEnv())
	if err != nil {
		slog.WarnContext(ctx, "traces do not say all of the process", "error", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	return func() {
		flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		if err := provider.Shutdown(flushing); err != nil {
			slog.WarnContext(flushing, "the last spans were not sent", "error", err)
		}
	}, nil
}

// complaints logs what OpenTelemetry cannot do, once in a while.
type complaints struct{ last atomic.Int64 }

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	now, last := time.Now().UnixNano(), c.last.Load()
	if now-last >= int64(quietTime) && c.last.CompareAndSwap(last, now) {
		slog.Warn("spans are lost", "error", err)
	}
}
