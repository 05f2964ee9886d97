package source

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/span"
)

// mostTraces is of how many traces' entries the span of a delivery tells.
const mostTraces = 32

// trace begins the span of a delivery: in the trace of the first of its entries that is recorded, with links to those of the
// others.
func (f *follower) trace(ctx context.Context, entries []events.Delivery) (context.Context, span.Span) {
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}
	if found := traces(entries); len(found) > 0 {
		ctx = trace.ContextWithRemoteSpanContext(ctx, found[0])
		for _, other := range found[1:] {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: other}))
		}
	}
	ctx, s := span.Start(ctx, "deliver "+f.stream, options...)
	s.Set(func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("messaging.system", "redis"), attribute.String("messaging.operation.name", "deliver"),
			attribute.String("messaging.operation.type", "process"), attribute.String("messaging.destination.name", f.stream),
			attribute.String("messaging.consumer.group.name", f.cfg.Function), attribute.Int("messaging.batch.message_count", len(entries)),
			attribute.String("chainmetrics.entries.first", entries[0].ID.String()),
			attribute.String("chainmetrics.entries.last", entries[len(entries)-1].ID.String()),
			attribute.String("server.address", f.sink.url.Hostname()),
		}
	})
	return ctx, s
}

// traced ends the span of an attempt.
func (f *follower) traced(s span.Span, a *attempt) {
	s.Set(func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("chainmetrics.outcome", a.outcome()), attribute.Int("chainmetrics.entries.applied", a.said.applied),
			attribute.Bool("chainmetrics.ahead", a.ahead),
		}
	})
	s.Done(a.err)
}

// traces gives the recorded traces of some entries, each once, in their order, the first so many of them. Without any it takes
// no memory.
func traces(entries []events.Delivery) []trace.SpanContext {
	var texts []string
	var found []trace.SpanContext
	for i := range entries {
		text := entries[i].Traceparent
		if text == "" || slices.Contains(texts, text) || !entries[i].Sampled() {
			continue
		}
		texts, found = append(texts, text), append(found, entries[i].TraceContext())
		if len(found) > mostTraces {
			break
		}
	}
	return found
}
