package events

import (
	"encoding/json"
	"strconv"
	"time"
)

// Open gives what a delivery holds, or the [*Unreadable] verdict on it.
func (d Delivery) Open() (Content, error) {
	if len(d.Data) > MaxDataBytes {
		return Content{}, &Unreadable{Reason: reasonSize}
	}
	if err := checkID(d.ID); err != nil && d.Type != TypeRaw {
		return Content{}, err
	}
	switch d.Type {
	case TypeBlock:
		return d.openBlock()
	case TypeEvent:
		return d.openEvent()
	case TypeRevert:
		return d.openRevert()
	case TypeRaw:
		return Content{}, d.openRaw()
	}
	return Content{}, &Unreadable{Reason: reasonKind}
}

func (d Delivery) openEvent() (Content, error) {
	fields, err := d.object()
	if err != nil {
		return Content{}, err
	}
	eventType, _ := fields[FieldType].(string)
	if !validType(eventType) {
		return Content{}, &Unreadable{Reason: reasonType}
	}
	if err := d.checkAttributes(fields[FieldChain], fields[FieldTimestamp]); err != nil {
		return Content{}, err
	}
	delete(fields, FieldType)
	delete(fields, FieldChain)
	return Content{Events: []Event{{Type: eventType, Chain: d.Chain, Time: d.Time, Place: d.ID, Fields: fields}}}, nil
}

// checkAttributes compares what the data says with what the attributes of its CloudEvent say.
func (d Delivery) checkAttributes(chain, timestamp any) error {
	if chain != d.Chain {
		return &Unreadable{Reason: reasonEventData}
	}
	t, err := timestampOf(timestamp)
	if err != nil {
		return err
	}
	if !t.Equal(d.Time) {
		return &Unreadable{Reason: reasonEventData}
	}
	return checkTime(t, d.Appended)
}

func (d Delivery) openBlock() (Content, error) {
	data, err := d.object()
	if err != nil {
		return Content{}, err
	}
	block, isBlock := data["block"].(map[string]any)
	list, isList := data["events"].([]any)
	if !isBlock || !isList || len(data) != 2 {
		return Content{}, &Unreadable{Reason: reasonShape}
	}
	height, err := d.checkBlock(block)
	if err != nil {
		return Content{}, err
	}
	chainEvents := make([]Event, 0, 1+len(list))
	chainEvents = append(chainEvents, Event{
		Type: BlockEvent, Chain: d.Chain, Time: d.Time, Place: ID{Major: height}, Fields: block, Block: block,
	})
	for i, element := range list {
		fields, _ := element.(map[string]any)
		eventType, _ := fields[FieldType].(string)
		if !validType(eventType) || eventType == BlockEvent {
			return Content{}, &Unreadable{Reason: reasonBlockEvent}
		}
		if chain, named := fields[FieldChain]; named && chain != d.Chain {
			return Content{}, &Unreadable{Reason: reasonDiffers}
		}
		delete(fields, FieldType)
		delete(fields, FieldChain)
		chainEvents = append(chainEvents, Event{
			Type: eventType, Chain: d.Chain, Time: d.Time, Place: ID{Major: height, Minor: uint64(i) + 1},
			Fields: fields, Block: block,
		})
	}
	return Content{Events: chainEvents}, nil
}

// checkBlock compares a block's fields with its entry, takes out those that every event has beside its fields, and gives the
// height.
func (d Delivery) checkBlock(block map[string]any) (height uint64, err error) {
	if block[FieldHash] != d.Hash {
		return 0, &Unreadable{Reason: reasonDiffers}
	}
	t, err := timestampOf(block[FieldTimestamp])
	if err != nil {
		return 0, err
	}
	if !t.Equal(d.Time) {
		return 0, &Unreadable{Reason: reasonDiffers}
	}
	number, _ := block[FieldNumber].(json.Number)
	if height, err = parseNumber(string(number)); err != nil {
		return 0, err
	}
	for name, value := range map[string]string{FieldType: BlockEvent, FieldChain: d.Chain} {
		if named, ok := block[name]; ok && named != value {
			return 0, &Unreadable{Reason: reasonDiffers}
		}
		delete(block, name)
	}
	return height, checkTime(t, d.Appended)
}

// revertData is the data of a revert.
type revertData struct {
	Ancestor ID     `json:"ancestor"`
	Number   uint64 `json:"number"`
	Hash     string `json:"hash"`
}

func (d Delivery) openRevert() (Content, error) {
	fields, err := d.object()
	if err != nil {
		return Content{}, err
	}
	text, _ := fields["ancestor"].(string)
	ancestor, notID := ParseID(text)
	height, _ := fields["number"].(json.Number)
	number, notNumber := strconv.ParseUint(string(height), 10, 64)
	hash, _ := fields["hash"].(string)
	if notID != nil || notNumber != nil || number > maxPart || !validHash(hash) || len(fields) != 3 {
		return Content{}, &Unreadable{Reason: reasonRevertData}
	}
	if ancestor.Compare(d.ID) >= 0 {
		return Content{}, &Unreadable{Reason: reasonAncestor}
	}
	return Content{Revert: &Revert{Ancestor: ancestor, Number: number, Hash: hash}}, nil
}

// object decodes the data, which is one JSON object.
func (d Delivery) object() (map[string]any, error) {
	value, err := decodeJSON(string(d.Data))
	if err != nil {
		return nil, err
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, &Unreadable{Reason: reasonSyntax}
	}
	return fields, nil
}

func timestampOf(value any) (time.Time, error) {
	switch v := value.(type) {
	case json.Number:
		return parseTimestamp(string(v))
	case string:
		return parseTimestamp(v)
	}
	return time.Time{}, &Unreadable{Reason: reasonTimestamp}
}
