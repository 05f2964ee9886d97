package events

import "regexp"

// Forms of the W3C Trace Context recommendation, sections 3.2 and 3.3.
var (
	traceparentPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	tracestatePattern  = regexp.MustCompile(`^[ -~]+$`)
)

const maxTracestate = 512 // bytes; within the pattern it would take 7 ms of every start to compile

// trace gives the trace context that the producer wrote. One of another form is left out: no trace makes an entry
// unreadable.
func (e Entry) trace() (traceparent, tracestate string) {
	return checkTrace(first(e.only(FieldTraceparent)), first(e.only(FieldTracestate)))
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
