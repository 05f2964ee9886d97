package events

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Types of the CloudEvents that say what has become of runs, of windows, of metrics. Each is written down in the transaction that
// makes it true, and sent at least once under one id. They come in any order.
const (
	TypeBucketFinalized = "dev.chainmetrics.bucket.finalized.v1"
	TypeBucketRevised   = "dev.chainmetrics.bucket.revised.v1"
	TypeBucketDrifted   = "dev.chainmetrics.bucket.drifted.v1"
	TypeRunFailed       = "dev.chainmetrics.run.failed.v1"
	TypeRunRetried      = "dev.chainmetrics.run.retried.v1"
	TypeRunLate         = "dev.chainmetrics.run.late.v1"
	TypeCheckFailed     = "dev.chainmetrics.check.failed.v1"
	TypeMetricChanged   = "dev.chainmetrics.metric.changed.v1"
)

// ExtensionRunID is the id of the run that a notice is about.
const ExtensionRunID = "runid"

const functionPrefix = "/chainmetrics/functions/"

// ParseMetricChanged reads the CloudEvent of a changed metric. It fails with [ErrInvalid].
func ParseMetricChanged(ce event.Event) (changed MetricChanged, err error) {
	if ce.Type() != TypeMetricChanged {
		return changed, fmt.Errorf("%w: type %.100q, want %s", ErrInvalid, ce.Type(), TypeMetricChanged)
	}
	if err := json.Unmarshal(ce.Data(), &changed); err != nil {
		return changed, fmt.Errorf("%w: data of %s: %w", ErrInvalid, TypeMetricChanged, err)
	}
	if changed.Metric == "" || changed.Version < 1 {
		return changed, fmt.Errorf("%w: data of %s name no metric or version", ErrInvalid, TypeMetricChanged)
	}
	return changed, nil
}

// Notice says that something has become true of a metric or of one of its windows. Its CloudEvent is the same whenever it is made.
type Notice struct {
	ID          int64  // among all notices
	Type        string // one of the types of notices
	Time        time.Time
	Subject     Window          // of a metric as a whole without chain, size and start
	RunID       int64           // 0: no run is concerned
	Traceparent string          // of the run, as W3C Trace Context writes it; empty: not recorded
	Details     json.RawMessage // the fields of the type's payload beyond the subject and the run, as an object
}

// CloudEvent gives the form in which a notice travels. It fails where the details are not those of the type.
func (n Notice) CloudEvent() (event.Event, error) {
	ce := event.New()
	ce.SetID(strconv.FormatInt(n.ID, 10))
	ce.SetType(n.Type)
	ce.SetSource(functionPrefix + url.PathEscape(n.Subject.MetricType))
	ce.SetTime(n.Time)
	subject, runID := n.Subject.Metric, ""
	if n.Subject.BucketSize != "" {
		subject += "/" + n.Subject.BucketSize + "/" + n.Subject.BucketStart.UTC().Format(time.RFC3339)
	}
	ce.SetSubject(subject)
	if n.RunID != 0 {
		runID = strconv.FormatInt(n.RunID, 10)
	}
	setExtensions(&ce, []extension{
		{ExtensionChain, n.Subject.Chain},
		{ExtensionMetric, n.Subject.Metric},
		{ExtensionMetricType, n.Subject.MetricType},
		{ExtensionBucketSize, n.Subject.BucketSize},
		{ExtensionComplexity, n.Subject.Complexity},
		{ExtensionRunID, runID},
		{ExtensionTraceparent, n.Traceparent},
	})
	payload, err := n.payload()
	if err != nil {
		return event.Event{}, fmt.Errorf("notice %d: %w", n.ID, err)
	}
	ce.SetDataContentType(event.ApplicationJSON)
	if ce.DataEncoded, err = marshal(payload); err != nil {
		return event.Event{}, fmt.Errorf("notice %d: %w", n.ID, err)
	}
	return ce, nil
}

func (n Notice) payload() (payload any, err error) {
	switch n.Type {
	case TypeBucketFinalized:
		payload = &BucketFinalized{Window: n.Subject, RunID: n.RunID}
	case TypeBucketRevised:
		payload = &BucketRevised{Window: n.Subject, RunID: n.RunID}
	case TypeBucketDrifted:
		payload = &BucketDrifted{Window: n.Subject, RunID: n.RunID}
	case TypeRunFailed:
		payload = &RunFailed{Window: n.Subject, RunID: n.RunID}
	case TypeRunRetried:
		payload = &RunRetried{Window: n.Subject, RunID: n.RunID}
	case TypeRunLate:
		payload = &RunLate{Window: n.Subject, RunID: n.RunID}
	case TypeCheckFailed:
		payload = &CheckFailed{Window: n.Subject, RunID: n.RunID}
	case TypeMetricChanged:
		payload = &MetricChanged{Metric: n.Subject.Metric, MetricType: n.Subject.MetricType, Complexity: n.Subject.Complexity}
	default:
		return nil, fmt.Errorf("%w: type %.100q is none of a notice", ErrInvalid, n.Type)
	}
	if err := json.Unmarshal(n.Details, payload); err != nil {
		return nil, fmt.Errorf("%w: details of %s: %w", ErrInvalid, n.Type, err)
	}
	return payload, nil
}
