package events

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Forms of the W3C Trace Context recommendation, sections 3.2 and 3.3.
var (
	traceparentPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	tracestatePattern  = regexp.MustCompile(`^[ -~]+$`)
)

const maxTracestate = 512 // bytes; within the pattern it would take 7 ms of every start to compile

// tracing gives the trace context that the producer wrote. One of another form is left out: no trace makes an entry
// unreadable.
func (e Entry) tracing() (traceparent, tracestate string) {
	return checkTrace(first(e.only(FieldTraceparent)), first(e.only(FieldTracestate)))
}

// isTrace tells whether a field is of the trace context.
func (f Field) isTrace() bool {
	return (f.Name == FieldTraceparent || f.Name == FieldTracestate) && len(f.Value) <= maxTracestate
}

func checkTrace(traceparent, tracestate string) (string, string) {
	if traceparent == "" || !traceparentPattern.MatchString(traceparent) {
		return "", ""
	}
	if len(tracestate) > maxTracestate || !tracestatePattern.MatchString(tracestate) {
		return traceparent, ""
	}
	return traceparent, tracestate
}

func first(value string, _ bool) string { return value }

// TraceFields gives the fields by which entries tell whoever applies them of the trace in which they are appended: none where it
// is not recorded.
func TraceFields(ctx context.Context) []Field {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return nil
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	fields := []Field{{FieldTraceparent, carrier[FieldTraceparent]}}
	if state := carrier[FieldTracestate]; state != "" {
		fields = append(fields, Field{FieldTracestate, state})
	}
	return fields
}

// IsTraced tells whether the entry says in which trace it is.
func (e Entry) IsTraced() bool {
	return slices.ContainsFunc(e.Fields, func(f Field) bool { return f.Name == FieldTraceparent })
}

// Sampled tells whether the producer has recorded the trace that it wrote into the entry.
func (d *Delivery) Sampled() bool {
	flags := strings.LastIndexByte(d.Traceparent, '-') + 1
	if flags == 0 {
		return false
	}
	n, err := strconv.ParseUint(d.Traceparent[flags:], 16, 8)
	return err == nil && n&1 == 1
}

// TraceContext gives that trace; it is not valid where there is none.
func (d *Delivery) TraceContext() trace.SpanContext {
	carrier := propagation.MapCarrier{FieldTraceparent: d.Traceparent, FieldTracestate: d.Tracestate}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}
