package postgres

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/span"
)

// startSpan begins the span of what is done for a function and a stream, which one transaction is.
func startSpan(ctx context.Context, operation, function, stream string) (context.Context, span.Span) {
	ctx, s := span.Start(ctx, operation+" "+function, trace.WithSpanKind(trace.SpanKindClient))
	s.Set(func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("db.system.name", "postgresql"), attribute.String("db.operation.name", operation),
			attribute.String("chainmetrics.function", function), attribute.String("messaging.destination.name", stream),
		}
	})
	return ctx, s
}

// startRebuildSpan begins the span of a step of a rebuild.
func startRebuildSpan(ctx context.Context, operation string, rebuild aggregate.Rebuild) (context.Context, span.Span) {
	ctx, s := startSpan(ctx, operation, rebuild.Function, rebuild.Stream)
	s.Set(func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.Int64("chainmetrics.generation", rebuild.Generation), attribute.String("chainmetrics.cut", rebuild.Cut.String()),
		}
	})
	return ctx, s
}

// traceOf gives the trace in which something is done and, where that is recorded, its span; empty where it is in none.
func traceOf(ctx context.Context) (traceID, spanID string) {
	s := trace.SpanContextFromContext(ctx)
	if s.HasTraceID() {
		traceID = s.TraceID().String()
	}
	if s.IsSampled() {
		spanID = s.SpanID().String()
	}
	return traceID, spanID
}
