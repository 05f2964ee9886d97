package events

import (
	"encoding/json"
	"strings"
)

// maxRawBytes bounds how much of an unreadable entry travels, names and values together.
const maxRawBytes = 4 << 20

// rawData is the data of an entry that cannot be read.
type rawData struct {
	Reason  string      `json:"reason"`
	Fields  [][2][]byte `json:"fields"`             // name and value, both in base64
	LeftOut int         `json:"left_out,omitempty"` // bytes at the end that did not fit
}

// NewUnreadable makes the delivery of an entry that is not to be read, for a reason: functions record it as a dead letter.
func NewUnreadable(stream string, entry Entry, predecessor ID, reason string) Delivery {
	data := rawData{Reason: reason, Fields: [][2][]byte{}}
	room := maxRawBytes
	cut := func(text string) []byte {
		part := text[:min(len(text), room)]
		room -= len(part)
		data.LeftOut += len(text) - len(part)
		return []byte(part)
	}
	for _, f := range entry.Fields {
		if room == 0 || len(data.Fields) == MaxFields {
			data.LeftOut += len(f.Name) + len(f.Value)
			continue
		}
		name := cut(f.Name)
		data.Fields = append(data.Fields, [2][]byte{name, cut(f.Value)})
	}
	encoded, err := marshal(data)
	if err != nil { // strings and bytes can always be marshalled
		panic(err)
	}
	d := Delivery{
		Stream:      stream,
		ID:          entry.ID,
		Predecessor: predecessor,
		Type:        TypeRaw,
		Hash:        entry.ContentHash(),
		Appended:    entry.Appended(),
		Data:        encoded,
	}
	d.Traceparent, d.Tracestate = entry.tracing()
	return d
}

// openRaw gives the verdict that was made when the entry was read, none on a marker.
func (d Delivery) openRaw() error {
	var data rawData
	if err := json.Unmarshal(d.Data, &data); err != nil || strings.TrimSpace(data.Reason) == "" {
		return &Unreadable{Reason: "raw entry without a reason"}
	}
	if data.Reason == reasonMarker {
		return nil
	}
	return &Unreadable{Reason: data.Reason}
}
