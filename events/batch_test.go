package events_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

// bySDK writes a batch as the SDK does.
func bySDK(t testing.TB, batch []events.Delivery) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteByte('[')
	for i, d := range batch {
		if i > 0 {
			b.WriteByte(',')
		}
		ce := d.CloudEvent()
		if err := event.WriteJson(&ce, &b); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteByte(']')
	return b.Bytes()
}

// readBySDK reads a batch as the SDK does; ok is false where a receiver would refuse it.
func readBySDK(text []byte) (batch []events.Delivery, ok bool) {
	var all []event.Event
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, false
	}
	for _, ce := range all {
		d, err := events.ParseDelivery(ce)
		if err != nil || ce.Validate() != nil {
			return nil, false
		}
		batch = append(batch, d)
	}
	return batch, len(batch) > 0
}

// batchOf has a delivery of each type in a stream with a plain name, one of them traced.
func batchOf(t testing.TB) []events.Delivery {
	t.Helper()
	entries := []events.Entry{
		flat("type", "x", "chain", "c", "timestamp", "2009-01-03T18:15:05Z", "memo", `a<b \u2028 "c"`+"\u2028\n", "n", "12345678901234567890.10"),
		flat("type", "x", "chain", "c", "timestamp", "1231006505.5", "list", `[1, {"a": "]}\\\""}]`,
			"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate", "a=1,b=2"),
		flat("type", "\xff", "\x00", "\xfe"),
	}
	var batch []events.Delivery
	for i, entry := range entries {
		entry.ID.Minor = uint64(i + 1)
		batch = append(batch, events.NewDelivery("blockchain_events:c:set", entry, events.ID{Minor: uint64(i)}))
	}
	batch[1].PredecessorHash = batch[0].Hash
	return batch
}

func TestBatchIsWhatTheSDKWrites(t *testing.T) {
	t.Parallel()
	batch := batchOf(t)
	for _, d := range deliveries(t) {
		batch = append(batch, d)
	}
	for _, some := range [][]events.Delivery{nil, batch[:1], batch} {
		if diff := cmp.Diff(string(bySDK(t, some)), string(events.AppendBatch(nil, some))); diff != "" {
			t.Error(diff)
		}
	}
}

// TestBatchIsRead wants the fast way for whatever a source usually sends, and the same from both ways.
func TestBatchIsRead(t *testing.T) {
	t.Parallel()
	batch := batchOf(t)
	for _, d := range deliveries(t) {
		d.Stream = batch[0].Stream
		batch = append(batch, d)
	}
	for i, d := range batch {
		text := bySDK(t, []events.Delivery{d, d})
		got, ok := events.ParseBatch(text)
		want, known := readBySDK(text)
		if !ok || !known {
			t.Errorf("delivery %d is read: %t, by the SDK: %t: %s", i, ok, known, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	ce := batch[0].CloudEvent()
	ce.SetExtension("knativearrivaltime", "now")
	text, err := json.Marshal([]event.Event{ce})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := events.ParseBatch(text); !ok || len(got) != 1 {
		t.Errorf("with a further extension: %v, %t", got, ok)
	}
}

// TestBatchIsLeftToTheSDK changes batches in ways that only the SDK judges.
func TestBatchIsLeftToTheSDK(t *testing.T) {
	t.Parallel()
	whole := string(bySDK(t, batchOf(t)))
	for name, text := range map[string]string{
		"nothing":            "",
		"an empty batch":     "[]",
		"an event":           whole[1 : strings.Index(whole, "},{")+1],
		"cut off":            whole[:len(whole)-1],
		"more":               whole + "[]",
		"another version":    strings.Replace(whole, `"1.0"`, `"0.3"`, 1),
		"data in base64":     strings.Replace(whole, `"data":{`, `"data_base64":{`, 1),
		"data that is text":  strings.Replace(whole, `"data":{`, `"data":"", "x":{`, 1),
		"an escaped text":    strings.Replace(whole, `"chain":"c","contenthash"`, `"chain":"\u0063","contenthash"`, 1),
		"a number":           strings.Replace(whole, `"chain":"c","contenthash"`, `"chain":7,"contenthash"`, 1),
		"twice":              strings.Replace(whole, `"specversion"`, `"type":"a","specversion"`, 1),
		"data twice":         strings.Replace(whole, `"specversion"`, `"data":{},"specversion"`, 1),
		"a subject":          strings.Replace(whole, `"specversion"`, `"subject":"a","specversion"`, 1),
		"a capital":          strings.Replace(whole, `"specversion"`, `"Subject":"a","specversion"`, 1),
		"a time of no form":  strings.Replace(whole, `"time":"2`, `"time":"x2`, 1),
		"another media type": strings.Replace(whole, `application/json`, `text/json`, 1),
		"broken data":        strings.Replace(whole, `"memo":`, `"memo" `, 1),
		"a list":             "[" + whole + "]",
		"depth":              strings.Repeat("[", 6_000_000),
		"depth of data":      strings.Replace(whole, `"memo":`, `"deep":`+strings.Repeat("[", 12_000)+strings.Repeat("]", 12_000)+`,"memo":`, 1),
	} {
		if batch, ok := events.ParseBatch([]byte(text)); ok {
			t.Errorf("%s is read as %v", name, batch)
		}
	}
}

// FuzzBatch wants that whatever is read is what the SDK reads.
func FuzzBatch(f *testing.F) {
	batch := batchOf(f)
	for i := range batch {
		f.Add(bySDK(f, batch[i:i+1]))
	}
	f.Add(bySDK(f, batch))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, ok := events.ParseBatch(text)
		if !ok {
			return
		}
		want, known := readBySDK(text)
		if !known {
			t.Fatalf("the SDK refuses %q", text)
		}
		if !slices.EqualFunc(got, want, func(a, b events.Delivery) bool { return cmp.Equal(a, b) }) {
			t.Error(cmp.Diff(want, got))
		}
	})
}
