// Package span records what a program does as spans of traces.
package span

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracer records nothing until telemetry is set up, and where there is nobody to send to.
var tracer = otel.Tracer("github.com/chainmetrics/chainmetrics")

// Span is something that is being done.
type Span struct{ trace.Span }

// Start begins a span in the trace of a context, or a trace where that has none.
func Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, Span) {
	ctx, s := tracer.Start(ctx, name, options...)
	return ctx, Span{s}
}

// Set adds attributes. It asks for them only where the span is recorded.
func (s Span) Set(attributes func() []attribute.KeyValue) {
	if s.IsRecording() {
		s.SetAttributes(attributes()...)
	}
}

// Done ends the span, as a failure where there is an error.
func (s Span) Done(err error) {
	if err != nil && s.IsRecording() {
		s.SetStatus(codes.Error, err.Error())
	}
	s.End()
}

// Inject writes the context's trace as W3C Trace Context says, where there is one.
func Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	propagation.TraceContext{}.Inject(ctx, carrier)
}

// Extract gives a context in the trace that a carrier names, if it does.
func Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	return propagation.TraceContext{}.Extract(ctx, carrier)
}
