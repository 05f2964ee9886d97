package events

import (
	"net/url"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// TypeRunRequested is the type of the CloudEvents that ask a run function to carry out queued runs.
const TypeRunRequested = "dev.chainmetrics.run.requested.v1"

// RunRequest is the data of [TypeRunRequested]: runs of a metric and bucket size are queued, and may begin. It is a tick that names
// a metric: lost, late or doubled, it changes only when work is done.
type RunRequest struct {
	Metric     string `json:"metric"`
	MetricType string `json:"metric_type"`
	BucketSize string `json:"bucket_size"`
	Complexity string `json:"complexity"`
}

// CloudEvent gives the form in which a request travels. The function is who asks; the same metric, size and time give the same
// id.
func (r RunRequest) CloudEvent(function string, at time.Time) event.Event {
	ce := event.New()
	ce.SetID(r.Metric + "/" + r.BucketSize + "/" + at.UTC().Format(time.RFC3339Nano))
	ce.SetType(TypeRunRequested)
	ce.SetSource(functionPrefix + url.PathEscape(function))
	ce.SetSubject(r.Metric + "/" + r.BucketSize)
	ce.SetTime(at)
	setExtensions(&ce, []extension{
		{ExtensionMetric, r.Metric},
		{ExtensionMetricType, r.MetricType},
		{ExtensionBucketSize, r.BucketSize},
		{ExtensionComplexity, r.Complexity},
	})
	ce.SetDataContentType(event.ApplicationJSON)
	ce.DataEncoded, _ = marshal(r) // texts always have a form
	return ce
}
