package events

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// NewDelivery makes the delivery of an entry that was read right after predecessor. An entry that nobody can read is
// delivered as [TypeRaw], with the reason.
func NewDelivery(stream string, entry Entry, predecessor ID) Delivery {
	d, err := read(stream, entry, predecessor)
	if err != nil {
		return NewUnreadable(stream, entry, predecessor, err.Error())
	}
	return d
}

// read gives the verdict on an entry: what it delivers, or the [*Unreadable].
func read(stream string, entry Entry, predecessor ID) (Delivery, error) {
	if err := checkID(entry.ID); err != nil {
		return Delivery{}, err
	}
	if err := checkFields(entry.Fields); err != nil {
		return Delivery{}, err
	}
	d := Delivery{
		Stream:      stream,
		ID:          entry.ID,
		Predecessor: predecessor,
		Hash:        entry.ContentHash(),
		Appended:    entry.Appended(),
	}
	d.Traceparent, d.Tracestate = entry.tracing()
	if entry.IsMarker() {
		return Delivery{}, &Unreadable{Reason: reasonMarker}
	}
	if text, ok := entry.json(); ok {
		return d, d.readJSON(text)
	}
	if d.Chain, _ = entry.only(FieldChain); !validChain(d.Chain) {
		return Delivery{}, &Unreadable{Reason: reasonChain}
	}
	kind, hasKind := entry.only(FieldKind)
	var err error
	switch {
	case !hasKind:
		err = d.readEvent(entry)
	case kind == kindBlock:
		err = d.readBlock(entry)
	case kind == kindRevert:
		err = d.readRevert(entry)
	default:
		err = &Unreadable{Reason: reasonKind}
	}
	return d, err
}

// Appended is the time at which the entry was appended: by its id, where that is a time, otherwise by its feed's clock. It
// is zero where neither is a time. What a producer of an open stream claims does not count.
func (e Entry) Appended() time.Time {
	if byID := millis(e.ID.Major); !byID.Before(Earliest) {
		return byID
	}
	if text, ok := e.only(FieldAppended); ok {
		return parseMillis(text)
	}
	return millis(e.ID.Major)
}

// WaitsSince is the time since which the entry waits to be applied, to be shown only: the later one of its id's time and of
// what a feed notes, since a feed of files makes ids of the events' own times. A producer of an open stream can claim a
// later one, so no verdict on its entries may depend on it. It lies before 2009 where neither is a time.
func (e Entry) WaitsSince() time.Time {
	at := millis(e.ID.Major)
	if text, ok := e.only(FieldAppended); ok && parseMillis(text).After(at) {
		return parseMillis(text)
	}
	return at
}

func (d *Delivery) readEvent(entry Entry) error {
	d.Type = TypeEvent
	if eventType, _ := entry.only(FieldType); !validType(eventType) {
		return &Unreadable{Reason: reasonType}
	}
	if err := d.readTime(entry); err != nil {
		return err
	}
	size := len(`{}`)
	for _, f := range entry.Fields {
		size += len(f.Name) + len(f.Value) + len(`"":"",`)
	}
	b := append(make([]byte, 0, size), '{')
	for _, f := range entry.Fields {
		if isMetadata(f.Name) {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = appendString(b, f.Name)
		b = append(b, ':')
		complete, err := isJSON(f)
		if err != nil {
			return err
		}
		if complete {
			b = append(b, f.Value...)
		} else {
			b = appendString(b, f.Value)
		}
	}
	d.Data = append(b, '}')
	if len(d.Data) > MaxDataBytes {
		return &Unreadable{Reason: reasonSize}
	}
	return nil
}

// json gives the object of an entry that has nothing else.
func (e Entry) json() (text string, ok bool) {
	for _, f := range e.Fields {
		switch {
		case f.Name == FieldJSON && !ok:
			text, ok = f.Value, true
		case !isMetadata(f.Name):
			return "", false
		}
	}
	return text, ok
}

// readJSON reads a flat event that is written as one object.
func (d *Delivery) readJSON(text string) error {
	d.Type, d.Data = TypeEvent, json.RawMessage(text)
	fields, err := d.object()
	if err != nil {
		return err
	}
	if d.Chain, _ = fields[FieldChain].(string); !validChain(d.Chain) {
		return &Unreadable{Reason: reasonChain}
	}
	if eventType, _ := fields[FieldType].(string); !validType(eventType) {
		return &Unreadable{Reason: reasonType}
	}
	if d.Time, err = timestampOf(fields[FieldTimestamp]); err != nil {
		return err
	}
	return checkTime(d.Time, d.Appended)
}

// isJSON tells whether a value is a complete JSON number, true, false, null, object or array. It fails where it is an
// object or array that cannot be read. Types and chains are always text, since there may be a chain "null"; so is a
// number beyond the bounds, since hexadecimal text such as 12e34567 may look like one.
func isJSON(f Field) (bool, error) {
	if f.Name == FieldType || f.Name == FieldChain || f.Value == "" || strings.TrimSpace(f.Value) != f.Value {
		return false, nil
	}
	if !strings.ContainsRune("{[-0123456789tfn", rune(f.Value[0])) {
		return false, nil
	}
	_, err := decodeJSON(f.Value)
	composite := f.Value[0] == '{' || f.Value[0] == '['
	if err == nil || composite && err.Error() != reasonSyntax {
		return err == nil, err
	}
	return false, nil
}

func appendString(b []byte, text string) []byte {
	if isPlain(text) {
		b = append(b, '"')
		b = append(b, text...)
		return append(b, '"')
	}
	quoted, err := marshal(text)
	if err != nil { // a string can always be marshalled
		panic(err)
	}
	return append(b, quoted...)
}

// isPlain tells whether a text stands in JSON as it is.
func isPlain(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func (d *Delivery) readTime(entry Entry) error {
	text, _ := entry.only(FieldTimestamp)
	t, err := parseTimestamp(text)
	if err != nil {
		return err
	}
	d.Time = t
	return checkTime(t, d.Appended)
}

var blockFields = map[string]bool{
	FieldChain: true, FieldTimestamp: true, FieldNumber: true, FieldHash: true, FieldParentHash: true, FieldData: true,
}

func (d *Delivery) readBlock(entry Entry) error {
	d.Type = TypeBlock
	if err := checkNames(entry, blockFields); err != nil {
		return err
	}
	if err := d.readTime(entry); err != nil {
		return err
	}
	number, err := readNumber(entry)
	if err != nil {
		return err
	}
	if hash, _ := entry.only(FieldHash); !validHash(hash) {
		return &Unreadable{Reason: reasonHash}
	}
	parent, _ := entry.only(FieldParentHash)
	if !validHash(parent) {
		return &Unreadable{Reason: reasonParentHash}
	}
	data, ok := entry.only(FieldData)
	if !ok {
		return &Unreadable{Reason: reasonNoData}
	}
	d.Data = json.RawMessage(data)
	content, err := d.Open()
	if err != nil {
		return err
	}
	block := content.Events[0].Fields
	if block[FieldNumber] != json.Number(strconv.FormatUint(number, 10)) {
		return &Unreadable{Reason: reasonDiffers}
	}
	if named, ok := block[FieldParentHash]; ok && named != parent {
		return &Unreadable{Reason: reasonDiffers}
	}
	d.ParentHash = parent
	return nil
}

var revertFields = map[string]bool{FieldChain: true, FieldAncestor: true, FieldNumber: true, FieldHash: true}

func (d *Delivery) readRevert(entry Entry) error {
	d.Type = TypeRevert
	if err := checkNames(entry, revertFields); err != nil {
		return err
	}
	if d.Appended.IsZero() {
		return &Unreadable{Reason: reasonAppended}
	}
	number, err := readNumber(entry)
	if err != nil {
		return err
	}
	hash, _ := entry.only(FieldHash)
	if !validHash(hash) {
		return &Unreadable{Reason: reasonHash}
	}
	text, _ := entry.only(FieldAncestor)
	ancestor, err := ParseID(text)
	if err != nil || ancestor.Compare(entry.ID) >= 0 {
		return &Unreadable{Reason: reasonAncestor}
	}
	d.Data, err = marshal(revertData{Ancestor: ancestor, Number: number, Hash: hash})
	if err != nil { // ids, numbers and strings can always be marshalled
		panic(err)
	}
	return nil
}

func checkNames(entry Entry, known map[string]bool) error {
	for _, f := range entry.Fields {
		if !known[f.Name] && !isMetadata(f.Name) {
			return &Unreadable{Reason: reasonUnknownField}
		}
	}
	return nil
}

func readNumber(entry Entry) (uint64, error) {
	text, _ := entry.only(FieldNumber)
	return parseNumber(text)
}

// parseNumber reads a height in its only form: digits without leading zeros.
func parseNumber(text string) (uint64, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil || number > maxPart || strconv.FormatUint(number, 10) != text {
		return 0, &Unreadable{Reason: reasonNumber}
	}
	return number, nil
}
