package events_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

// deliveries has one delivery of each type.
func deliveries(t *testing.T) map[string]events.Delivery {
	t.Helper()
	revert, err := events.NewRevertEntry(events.ID{Major: 1}, "bitcoin",
		events.Revert{Ancestor: events.ID{Minor: 1}, Hash: genesisHash}, appended)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]events.Entry{
		"block":  blockEntry(t, nil),
		"event":  flat("type", "x", "chain", "c", "timestamp", "2009-01-03T18:15:05.123456Z", "memo", "a<b \u2028 \"c\"\n"),
		"revert": revert,
		"raw":    flat("type", "\xff", "\x00", "\xfe"),
	}
	out := make(map[string]events.Delivery, len(all))
	for name, entry := range all {
		out[name] = events.NewDelivery("blockchain_events:bitcoin/é %", entry, events.ID{Minor: 1})
		if want := "dev.chainmetrics.stream." + name + ".v1"; out[name].Type != want {
			t.Fatalf("type is %s, want %s: %s", out[name].Type, want, out[name].Data)
		}
	}
	return out
}

// travel sends a delivery through the JSON form of its CloudEvent.
func travel(t *testing.T, d events.Delivery) (events.Delivery, error) {
	t.Helper()
	ce := d.CloudEvent()
	if err := ce.Validate(); err != nil {
		t.Fatalf("%s: %v", ce, err)
	}
	text, err := json.Marshal(ce)
	if err != nil {
		t.Fatalf("%s: %v", ce, err)
	}
	var arrived event.Event
	if err := json.Unmarshal(text, &arrived); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return events.ParseDelivery(arrived)
}

// compareContents wants the same content, or the same verdict, of both.
func compareContents(t *testing.T, a, b events.Delivery) {
	t.Helper()
	wantContent, wantErr := a.Open()
	content, err := b.Open()
	if diff := cmp.Diff(wantContent, content); diff != "" {
		t.Errorf("contents differ (-sent +arrived):\n%s", diff)
	}
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Errorf("verdict is %v, was %v", err, wantErr)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, d := range deliveries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived, err := travel(t, d)
			if err != nil {
				t.Fatal(err)
			}
			compareContents(t, d, arrived)
			d.Data, arrived.Data = nil, nil // JSON text may be written in more than one way
			if diff := cmp.Diff(d, arrived); diff != "" {
				t.Errorf("deliveries differ (-sent +arrived):\n%s", diff)
			}
		})
	}
}

func TestParseDeliveryRefuses(t *testing.T) {
	t.Parallel()
	all := deliveries(t)
	tests := map[string]func(*event.Event){
		"type":                   func(ce *event.Event) { ce.SetType("dev.knative.sources.ping") },
		"source":                 func(ce *event.Event) { ce.SetSource("/elsewhere") },
		"no stream":              func(ce *event.Event) { ce.SetExtension("partitionkey", nil) },
		"other stream":           func(ce *event.Event) { ce.SetExtension("partitionkey", "another") },
		"long stream":            func(ce *event.Event) { ce.SetExtension("partitionkey", strings.Repeat("x", 600)) },
		"no sequence":            func(ce *event.Event) { ce.SetExtension("sequence", nil) },
		"bad sequence":           func(ce *event.Event) { ce.SetExtension("sequence", "5") },
		"other id":               func(ce *event.Event) { ce.SetID("0-3") },
		"no predecessor":         func(ce *event.Event) { ce.SetExtension("predecessor", nil) },
		"bad predecessor":        func(ce *event.Event) { ce.SetExtension("predecessor", "x-y") },
		"predecessor behind it":  func(ce *event.Event) { ce.SetExtension("predecessor", "99999999999999-0") },
		"bad predecessor's hash": func(ce *event.Event) { ce.SetExtension("predecessorhash", "é") },
		"no hash":                func(ce *event.Event) { ce.SetExtension("contenthash", nil) },
		"bad append time":        func(ce *event.Event) { ce.SetExtension("appendtime", "now") },
		"no append time":         func(ce *event.Event) { ce.SetExtension("appendtime", nil) },
		"no chain":               func(ce *event.Event) { ce.SetExtension("chain", nil) },
		"bad chain":              func(ce *event.Event) { ce.SetExtension("chain", "Bitcoin") },
		"no time":                func(ce *event.Event) { ce.Context.(*event.EventContextV1).Time = nil },
		"no data":                func(ce *event.Event) { ce.DataEncoded = nil },
		"data type":              func(ce *event.Event) { ce.SetDataContentType("text/plain") },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ce := all["block"].CloudEvent()
			change(&ce)
			if d, err := events.ParseDelivery(ce); !errors.Is(err, events.ErrInvalid) {
				t.Errorf("error is %v, delivery %+v", err, d)
			}
		})
	}
}

func TestDataThatDiffersFromItsAttributes(t *testing.T) {
	t.Parallel()
	all := deliveries(t)
	tests := map[string]struct {
		delivery events.Delivery
		data     string
	}{
		"other chain":     {all["event"], `{"type":"x","chain":"d","timestamp":"2009-01-03T18:15:05.123456Z"}`},
		"other time":      {all["event"], `{"type":"x","chain":"c","timestamp":"2009-01-03T18:15:05.123455Z"}`},
		"no type":         {all["event"], `{"chain":"c","timestamp":"2009-01-03T18:15:05.123456Z"}`},
		"no timestamp":    {all["event"], `{"type":"x","chain":"c","timestamp":null}`},
		"list":            {all["event"], `[]`},
		"no ancestor":     {all["revert"], `{"number":1,"hash":"a","x":1}`},
		"ancestor behind": {all["revert"], `{"ancestor":"1-0","number":1,"hash":"a"}`},
		"raw":             {all["raw"], `{}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.delivery.Data = json.RawMessage(tt.data)
			var unreadable *events.Unreadable
			if content, err := tt.delivery.Open(); !errors.As(err, &unreadable) {
				t.Errorf("content is %+v, error %v", content, err)
			}
		})
	}
}
