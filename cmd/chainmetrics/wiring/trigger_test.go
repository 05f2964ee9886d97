package wiring_test

import (
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

func TestTriggerTakesWhatHasEveryAttribute(t *testing.T) {
	t.Parallel()
	e := event.New()
	e.SetID("1")
	e.SetType("ping")
	e.SetSource("/here")
	e.SetExtension("bucketsize", "hourly")
	e.SetExtension("empty", "")
	tests := map[string]struct {
		attributes map[string]string
		want       bool
	}{
		"none":            {nil, true},
		"type":            {map[string]string{"type": "ping"}, true},
		"another type":    {map[string]string{"type": "pin"}, false},
		"case":            {map[string]string{"type": "Ping"}, false},
		"all":             {map[string]string{"specversion": "1.0", "id": "1", "source": "/here", "bucketsize": "hourly"}, true},
		"all but one":     {map[string]string{"type": "ping", "source": "/here", "bucketsize": "daily"}, false},
		"any value":       {map[string]string{"bucketsize": ""}, true},
		"not there":       {map[string]string{"metric": "x"}, false},
		"any of nothing":  {map[string]string{"metric": ""}, false},
		"any of empty":    {map[string]string{"empty": ""}, false},
		"any subject":     {map[string]string{"subject": ""}, false},
		"any data":        {map[string]string{"datacontenttype": ""}, false},
		"any data schema": {map[string]string{"dataschema": ""}, false},
	}
	for name, tt := range tests {
		if got := (wiring.Trigger{Attributes: tt.attributes}).Takes(e); got != tt.want {
			t.Errorf("%s: it is taken: %v", name, got)
		}
	}
}

func TestPausesGrow(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		delivery wiring.Delivery
		want     []time.Duration
	}{
		"exponential": {wiring.Delivery{Delay: time.Second}, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		"linear":      {wiring.Delivery{Delay: time.Second, Linear: true}, []time.Duration{0, time.Second, 2 * time.Second}},
		"none":        {wiring.Delivery{}, []time.Duration{0, 0, 0}},
	}
	for name, tt := range tests {
		var got []time.Duration
		for retry := range tt.want {
			got = append(got, tt.delivery.Pause(retry))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}
