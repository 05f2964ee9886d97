package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

var request = events.RunRequest{Metric: "btc_fees", MetricType: "counter", BucketSize: "daily", Complexity: "medium"}

// notices has one of each type.
func notices() []events.Notice {
	details := map[string]string{
		events.TypeBucketFinalized: `{"observations": 17, "buckets": 0, "definition_version": 2}`,
		events.TypeBucketRevised:   `{"reason": "late"}`,
		events.TypeBucketDrifted:   `{"changes": 3}`,
		events.TypeRunFailed:       `{"reason": "due", "attempt": 4, "error": "rebuild btc_fees daily: no <space>"}`,
		events.TypeRunRetried: `{"reason": "due", "attempt": 1, "error": "rebuild btc_fees daily: no <space>",
			"next_attempt_at": "2009-01-04T06:05:00Z"}`,
		events.TypeRunLate:       `{"deadline": "2009-01-04T06:00:00Z"}`,
		events.TypeCheckFailed:   `{"check": "min 0", "severity": "block", "message": "-1 is less than 0"}`,
		events.TypeMetricChanged: `{"change": "updated", "version": 2}`,
	}
	var all []events.Notice
	for _, ceType := range events.Types() {
		if details[ceType] == "" {
			continue
		}
		n := events.Notice{
			ID: 42, Type: ceType, Time: appended, Details: json.RawMessage(details[ceType]), RunID: 7,
			Subject: events.Window{
				Metric: "btc_fees", MetricType: "counter", Complexity: "small", Chain: "bitcoin",
				BucketSize: "daily", BucketStart: time.Date(2009, 1, 3, 0, 0, 0, 0, time.UTC),
			},
		}
		if ceType == events.TypeMetricChanged {
			n.RunID, n.Subject = 0, events.Window{Metric: "btc_fees", MetricType: "counter", Complexity: "small"}
		}
		all = append(all, n)
	}
	return all
}

func TestNotices(t *testing.T) {
	t.Parallel()
	want := map[string]string{ // subject, extensions
		"window": `btc_fees/daily/2009-01-03T00:00:00Z map[bucketsize:daily chain:bitcoin complexity:small metric:btc_fees metrictype:counter runid:7]`,
		"metric": `btc_fees map[complexity:small metric:btc_fees metrictype:counter]`,
	}
	for _, n := range notices() {
		ce, err := n.CloudEvent()
		if err != nil {
			t.Fatal(err)
		}
		if err := ce.Validate(); err != nil {
			t.Errorf("%s: %v", n.Type, err)
		}
		about := "window"
		if n.Type == events.TypeMetricChanged {
			about = "metric"
		}
		got := fmt.Sprint(ce.Subject(), " ", ce.Extensions())
		if diff := cmp.Diff(want[about], got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", n.Type, diff)
		}
		if ce.ID() != "42" || ce.Type() != n.Type || ce.Source() != "/chainmetrics/functions/counter" || !ce.Time().Equal(appended) {
			t.Errorf("%s", ce)
		}
	}
}

func TestNoticesRefuse(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]events.Notice{
		"type":    {Type: events.TypeBlock, Details: json.RawMessage(`{}`)},
		"details": {Type: events.TypeBucketRevised, Details: json.RawMessage(`{"reason": 1}`)},
		"nothing": {Type: events.TypeBucketRevised},
	} {
		if ce, err := n.CloudEvent(); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, ce, err)
		}
	}
}

// TestRequestsAreTicks that name a metric.
func TestRequestsAreTicks(t *testing.T) {
	t.Parallel()
	ce := request.CloudEvent("scheduler", appended)
	if err := ce.Validate(); err != nil {
		t.Fatal(err)
	}
	got, err := events.ParseTick(ce)
	if err != nil {
		t.Fatal(err)
	}
	want := events.Tick{Function: "counter", Metric: "btc_fees", BucketSize: "daily", Complexity: "medium", Requested: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if ce.Source() != "/chainmetrics/functions/scheduler" || ce.Subject() != "btc_fees/daily" {
		t.Errorf("%s", ce)
	}
	if again := request.CloudEvent("scheduler", appended.Add(time.Minute)); again.ID() == ce.ID() {
		t.Errorf("a minute later the id is %s again", ce.ID())
	}
}

func TestMetricChangedIsRead(t *testing.T) {
	t.Parallel()
	n := events.Notice{
		ID: 1, Type: events.TypeMetricChanged, Time: time.Unix(0, 0), Details: []byte(`{"change": "updated", "version": 2}`),
		Subject: events.Window{Metric: "fees", MetricType: "counter", Complexity: "small"},
	}
	ce, err := n.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.ParseMetricChanged(ce)
	want := events.MetricChanged{Metric: "fees", MetricType: "counter", Complexity: "small", Change: events.MetricUpdated, Version: 2}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for name, spoil := range map[string]func(ce *event.Event){
		"another type": func(ce *event.Event) { ce.SetType(events.TypeRunFailed) },
		"no data":      func(ce *event.Event) { ce.DataEncoded = nil },
		"no metric":    func(ce *event.Event) { ce.DataEncoded = []byte(`{"version": 2}`) },
		"no version":   func(ce *event.Event) { ce.DataEncoded = []byte(`{"metric": "fees"}`) },
	} {
		other := ce.Clone()
		spoil(&other)
		if got, err := events.ParseMetricChanged(other); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
