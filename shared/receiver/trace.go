package receiver

import (
	"context"
	"net/http"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/span"
)

// startSpan begins the span of a request that has been read, in the trace that its headers name; where they name none, in that of
// the distributed tracing extension of its only CloudEvent.
func startSpan(
	ctx context.Context, r *http.Request, batch []events.Delivery, tick *event.Event, begin time.Time,
) (context.Context, span.Span) {
	ctx = span.Extract(ctx, propagation.HeaderCarrier(r.Header))
	name := "receive"
	switch {
	case tick != nil:
		name = "receive " + tick.Type()
		ctx = extended(ctx, tick)
	case len(batch) > 0:
		name = "receive " + batch[0].Stream
		if len(batch) == 1 && !trace.SpanContextFromContext(ctx).IsValid() {
			ctx = trace.ContextWithRemoteSpanContext(ctx, batch[0].TraceContext())
		}
	}
	ctx, s := span.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(begin))
	s.Set(func() []attribute.KeyValue {
		all := []attribute.KeyValue{
			attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path),
			attribute.String("messaging.operation.type", "process"),
		}
		if tick != nil {
			all = append(all, attribute.String("cloudevents.event_id", tick.ID()), attribute.String("cloudevents.event_type", tick.Type()),
				attribute.String("cloudevents.event_source", tick.Source()))
		}
		if len(batch) > 0 {
			all = append(all, attribute.String("messaging.destination.name", batch[0].Stream),
				attribute.Int("messaging.batch.message_count", len(batch)))
		}
		return all
	})
	return ctx, s
}

// extended gives a context in the trace of a CloudEvent's extension, unless it is in one.
func extended(ctx context.Context, ce *event.Event) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	carrier := propagation.MapCarrier{}
	for _, name := range []string{events.ExtensionTraceparent, events.ExtensionTracestate} {
		if text, err := types.ToString(ce.Extensions()[name]); err == nil {
			carrier[name] = text
		}
	}
	return span.Extract(ctx, carrier)
}

// endSpan ends the span of a request, as a failure where it may be answered otherwise later.
func endSpan(s span.Span, status int) {
	s.Set(func() []attribute.KeyValue {
		return []attribute.KeyValue{attribute.Int("http.response.status_code", status)}
	})
	if status >= http.StatusInternalServerError {
		s.SetStatus(codes.Error, http.StatusText(status))
	}
	s.End()
}
