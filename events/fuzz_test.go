package events_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

// FuzzEntry looks for entries whose verdict or content changes on the way to a function.
func FuzzEntry(f *testing.F) {
	f.Add(uint64(0), uint64(2), "type\x00x\x00chain\x00c\x00timestamp\x001231006505\x00chainmetrics.appended_at\x001231006505000")
	f.Add(uint64(1709251199123), uint64(0), "type\x00x\x00chain\x00c\x00timestamp\x002009-01-03 18:15:05 UTC\x00memo\x00[1e5]")
	f.Add(uint64(1), uint64(0), "chainmetrics.kind\x00revert\x00chain\x00c\x00ancestor\x000-1\x00number\x000\x00hash\x00a\x00"+
		"chainmetrics.appended_at\x001231006505000")
	f.Add(uint64(0), uint64(2), "chainmetrics.kind\x00block\x00chain\x00c\x00timestamp\x001231469665\x00number\x001\x00hash\x00a\x00"+
		"parent_hash\x00b\x00chainmetrics.appended_at\x001231469665000\x00data\x00"+
		`{"block":{"number":1,"hash":"a","timestamp":1231469665},"events":[{"type":"transaction","value":1.50}]}`)
	f.Fuzz(func(t *testing.T, major, minor uint64, text string) {
		entry := events.Entry{ID: events.ID{Major: major, Minor: minor}}
		if entry.ID.IsZero() {
			return // Redis has no such entry
		}
		parts := strings.Split(text, "\x00")
		for i := 0; i+1 < len(parts); i += 2 {
			entry.Fields = append(entry.Fields, events.Field{Name: parts[i], Value: parts[i+1]})
		}
		d := events.NewDelivery("s", entry, events.ID{})
		arrived, err := travel(t, d)
		if err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		if arrived.Hash != entry.ContentHash() {
			t.Errorf("hash is %s, was %s", arrived.Hash, entry.ContentHash())
		}
		compareContents(t, d, arrived)
		if _, err := d.Open(); (err != nil) != (d.Type == events.TypeRaw) {
			t.Errorf("%s opens with %v", d.Type, err)
		}
	})
}

// FuzzCloudEvent looks for CloudEvents that a function cannot answer.
func FuzzCloudEvent(f *testing.F) {
	for _, entry := range []events.Entry{
		flat("type", "x", "chain", "c", "timestamp", "2009-01-03T18:15:05Z"),
		flat("type", "\xff"),
	} {
		text, err := json.Marshal(events.NewDelivery("s", entry, events.ID{}).CloudEvent())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"specversion":"1.0","type":"dev.knative.sources.ping","id":"1","source":"/ping","metrictype":"a","bucketsize":"b"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var ce event.Event
		if err := json.Unmarshal(text, &ce); err != nil {
			return
		}
		tick, tickErr := events.ParseTick(ce)
		if tickErr == nil && (ce.Type() != events.TypePing || tick.Function == "") {
			t.Errorf("%s is read as %+v", text, tick)
		}
		if tickErr != nil && !errors.Is(tickErr, events.ErrInvalid) {
			t.Errorf("error is %v", tickErr)
		}
		d, err := events.ParseDelivery(ce)
		if err != nil {
			if !errors.Is(err, events.ErrInvalid) {
				t.Errorf("error is %v", err)
			}
			return
		}
		if tickErr == nil {
			t.Errorf("%s is both a tick and a delivery", text)
		}
		if d.ID.Compare(d.Predecessor) <= 0 || d.Stream == "" || d.Hash == "" {
			t.Errorf("delivery is %+v", d)
		}
		content, err := d.Open()
		var unreadable *events.Unreadable
		if err != nil && !errors.As(err, &unreadable) {
			t.Errorf("error is %v", err)
		}
		if err == nil && len(content.Events) == 0 && content.Revert == nil {
			t.Errorf("%s holds nothing", text)
		}
	})
}

// FuzzJSON compares what is read with what encoding/json reads, where it reads at all.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{`1`, `-0.5e+3`, `"\ud83d\ude00\n"`, `"\ud800\b"`, `[true,false,null]`, ` {"a":[{}],"b":""} `, `01`, `"`, `{"a":1,"a":2}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := events.DecodeJSON(text)
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var want any
		wantErr := decoder.Decode(&want)
		if wantErr == nil && !json.Valid([]byte(text)) {
			wantErr = errors.New("trailing garbage")
		}
		if err == nil && wantErr != nil {
			t.Fatalf("%q is read as %v: %v", text, got, wantErr)
		}
		if err != nil {
			if wantErr == nil && utf8.ValidString(text) && err.Error() == "broken JSON" {
				t.Errorf("%q is refused", text)
			}
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
