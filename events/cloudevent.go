package events

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

const (
	sourcePrefix     = "/chainmetrics/streams/"
	appendTimeLayout = "2006-01-02T15:04:05.000Z07:00"
)

// MaxStream is how many bytes the name of a stream may have.
const MaxStream = 512

// CloudEvent gives the form in which a delivery travels.
func (d Delivery) CloudEvent() event.Event {
	ce := event.New()
	ce.SetID(d.ID.String())
	ce.SetType(d.Type)
	ce.SetSource(sourcePrefix + url.PathEscape(d.Stream))
	if !d.Time.IsZero() {
		ce.SetTime(d.Time)
	}
	setExtensions(&ce, []extension{
		{ExtensionPartitionKey, d.Stream},
		{ExtensionSequence, d.ID.Sequence()},
		{ExtensionPredecessor, d.Predecessor.Sequence()},
		{ExtensionPredecessorHash, d.PredecessorHash},
		{ExtensionContentHash, d.Hash},
		{ExtensionParentHash, d.ParentHash},
		{ExtensionChain, d.Chain},
		{ExtensionAppendTime, formatAppended(d.Appended)},
		{ExtensionTraceparent, d.Traceparent},
		{ExtensionTracestate, d.Tracestate},
	})
	ce.SetDataContentType(event.ApplicationJSON)
	ce.DataEncoded = d.Data
	return ce
}

// extension is an extension attribute.
type extension struct{ name, value string }

// setExtensions sets those that have a value.
func setExtensions(ce *event.Event, all []extension) {
	for _, e := range all {
		if e.value != "" {
			ce.SetExtension(e.name, e.value)
		}
	}
}

func formatAppended(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(appendTimeLayout)
}

// ParseDelivery reads a CloudEvent that [Delivery.CloudEvent] made, whichever way it travelled. It fails with
// [ErrInvalid] where the event is none of those; whether its data can be read, [Delivery.Open] tells.
func ParseDelivery(ce event.Event) (Delivery, error) {
	text := extensions(ce.Extensions()).text // a copy, made once
	return attributes{
		id: ce.ID(), source: ce.Source(), kind: ce.Type(), contentType: ce.DataContentType(), time: ce.Time(), data: ce.Data(),
		partitionKey: text(ExtensionPartitionKey), sequence: text(ExtensionSequence), predecessor: text(ExtensionPredecessor),
		predecessorHash: text(ExtensionPredecessorHash),
		hash:            text(ExtensionContentHash), parentHash: text(ExtensionParentHash), chain: text(ExtensionChain), appended: text(ExtensionAppendTime),
		traceparent: text(ExtensionTraceparent), tracestate: text(ExtensionTracestate),
	}.delivery()
}

// attributes are what a CloudEvent says; what it does not say is empty.
type attributes struct {
	id, source, kind, contentType            string
	time                                     time.Time
	partitionKey, sequence                   string
	predecessor, predecessorHash             string
	hash, parentHash                         string
	chain, appended, traceparent, tracestate string
	data                                     []byte
}

func (a attributes) delivery() (Delivery, error) {
	d := Delivery{Type: a.kind, Data: a.data}
	switch d.Type {
	case TypeBlock, TypeEvent, TypeRevert, TypeRaw:
	default:
		return Delivery{}, fmt.Errorf("%w: type %.100q is none of a stream", ErrInvalid, a.kind)
	}
	if mediaType, _, _ := strings.Cut(a.contentType, ";"); mediaType != "" && mediaType != event.ApplicationJSON {
		return Delivery{}, fmt.Errorf("%w: data is %.100q, want %s", ErrInvalid, mediaType, event.ApplicationJSON)
	}
	if len(d.Data) == 0 {
		return Delivery{}, fmt.Errorf("%w: no data", ErrInvalid)
	}
	if err := d.parsePlace(a); err != nil {
		return Delivery{}, err
	}
	if err := d.parseFields(a); err != nil {
		return Delivery{}, err
	}
	return d, nil
}

// parsePlace reads where in which stream the entry stands.
func (d *Delivery) parsePlace(a attributes) error {
	d.Stream = a.partitionKey
	if d.Stream == "" || len(d.Stream) > MaxStream || a.source != sourcePrefix+url.PathEscape(d.Stream) {
		return fmt.Errorf("%w: source %.100q is not the stream of %s %.100q", ErrInvalid, a.source, ExtensionPartitionKey, d.Stream)
	}
	var err error
	if d.ID, err = ParseID(a.sequence); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, ExtensionSequence, err)
	}
	if d.ID.IsZero() || d.ID.String() != a.id {
		return fmt.Errorf("%w: id %.100q has %s %s", ErrInvalid, a.id, ExtensionSequence, d.ID)
	}
	if d.Predecessor, err = ParseID(a.predecessor); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, ExtensionPredecessor, err)
	}
	if d.Predecessor.Compare(d.ID) >= 0 {
		return fmt.Errorf("%w: %s %s does not lie before %s", ErrInvalid, ExtensionPredecessor, d.Predecessor, d.ID)
	}
	if d.PredecessorHash = a.predecessorHash; d.PredecessorHash != "" && !validHash(d.PredecessorHash) {
		return fmt.Errorf("%w: %s %.200q is no hash", ErrInvalid, ExtensionPredecessorHash, d.PredecessorHash)
	}
	return nil
}

// parseFields reads what the entry's fields said.
func (d *Delivery) parseFields(a attributes) error {
	if d.Hash = a.hash; !validHash(d.Hash) {
		return fmt.Errorf("%w: %s %.200q is no hash", ErrInvalid, ExtensionContentHash, d.Hash)
	}
	if d.ParentHash = a.parentHash; d.ParentHash != "" && (d.Type != TypeBlock || !validHash(d.ParentHash)) {
		return fmt.Errorf("%w: %s %.200q is no hash, or not of a block", ErrInvalid, ExtensionParentHash, d.ParentHash)
	}
	if a.appended != "" {
		t, err := time.Parse(time.RFC3339, a.appended)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, ExtensionAppendTime, err)
		}
		d.Appended = t.UTC().Truncate(time.Millisecond)
	}
	d.Traceparent, d.Tracestate = checkTrace(a.traceparent, a.tracestate)
	if d.Type == TypeRaw {
		return nil
	}
	if d.Appended.IsZero() {
		return fmt.Errorf("%w: no %s", ErrInvalid, ExtensionAppendTime)
	}
	if d.Chain = a.chain; !validChain(d.Chain) {
		return fmt.Errorf("%w: %s %.100q is no chain", ErrInvalid, ExtensionChain, d.Chain)
	}
	if d.Type == TypeRevert {
		return nil
	}
	if a.time.IsZero() {
		return fmt.Errorf("%w: no time", ErrInvalid)
	}
	d.Time = a.time.UTC().Truncate(time.Microsecond)
	return nil
}

// extensions are the extension attributes of a CloudEvent.
type extensions map[string]any

// text gives an attribute, empty where there is none or where it is no text.
func (e extensions) text(name string) string {
	value, err := types.ToString(e[name])
	if err != nil {
		return ""
	}
	return value
}
