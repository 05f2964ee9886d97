package events

import (
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"
)

// TypePing is the type of the CloudEvents that a Knative PingSource sends.
const TypePing = "dev.knative.sources.ping"

// Names of the extension attributes of a tick, which its PingSource sets through ceOverrides.extensions, since a Trigger
// cannot filter on data. All values are strings.
const (
	ExtensionFunction   = "function" // of a function that computes no metrics
	ExtensionMetric     = "metric"
	ExtensionMetricType = "metrictype" // the function's name, of one that does
	ExtensionBucketSize = "bucketsize"
	ExtensionComplexity = "complexity" // small, medium or large: which run Service
)

// maxTickValue bounds the attributes of a tick, in bytes.
const maxTickValue = 256

// Wakes tells whether CloudEvents of a type are ticks: pings and requests of runs.
func Wakes(ceType string) bool { return ceType == TypePing || ceType == TypeRunRequested }

// Tick wakes a function, a metric type for one bucket size. It orders nothing: lost, late or doubled, it changes only when
// work is done.
type Tick struct {
	Function   string // for a metric type its name
	Metric     string // which it is about; empty: none in particular
	BucketSize string // empty for a function that is no metric type
	Complexity string // of the metrics whose runs are to be carried out; empty: any
	Requested  bool   // by the scheduler, for all such metrics: the one that is named is only the first
}

// ParseTick reads the CloudEvent of a PingSource, or a request of runs. Its data is ignored. It fails with [ErrInvalid] where the
// type is another, or neither a function nor a metric type and a bucket size are named; whether a function knows them, the
// function tells.
func ParseTick(ce event.Event) (Tick, error) {
	if !Wakes(ce.Type()) {
		return Tick{}, fmt.Errorf("%w: type %.100q, want %s or %s", ErrInvalid, ce.Type(), TypePing, TypeRunRequested)
	}
	var t Tick
	extensions := extensions(ce.Extensions())
	type attribute struct {
		name     string
		value    *string
		required bool
	}
	attributes := []attribute{{ExtensionFunction, &t.Function, true}}
	if extensions.text(ExtensionFunction) == "" {
		attributes = []attribute{
			{ExtensionMetric, &t.Metric, false},
			{ExtensionMetricType, &t.Function, true},
			{ExtensionBucketSize, &t.BucketSize, true},
			{ExtensionComplexity, &t.Complexity, false},
		}
	}
	for _, extension := range attributes {
		value := extensions.text(extension.name)
		if extension.required && value == "" {
			return Tick{}, fmt.Errorf("%w: no %s", ErrInvalid, extension.name)
		}
		if len(value) > maxTickValue {
			return Tick{}, fmt.Errorf("%w: %s has %d bytes, want at most %d", ErrInvalid, extension.name, len(value), maxTickValue)
		}
		*extension.value = value
	}
	t.Requested = ce.Type() == TypeRunRequested
	return t, nil
}
