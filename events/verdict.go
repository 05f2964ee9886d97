package events

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what can be read. An entry beyond one of them is unreadable.
const (
	MaxDataBytes = 64 << 20 // names and values of an entry together, and the data of a delivery
	MaxDepth     = 64       // nested JSON arrays and objects
	MaxValues    = 2 << 20  // of one JSON text; each takes up to 200 bytes of memory
	MaxFields    = 4096     // of an entry
	maxName      = 63       // bytes of a chain or an event type
	maxHash      = 128      // bytes of a block hash
	// maxPart is the greatest part of an entry id, and the greatest height: what a database can hold.
	maxPart = 1<<63 - 1
	// maxAhead is how far a chain time may lie after the entry's append time.
	maxAhead = 24 * time.Hour
)

// Reasons for which an entry is unreadable. They are stored beside dead letters, so they stay as they are.
const (
	reasonSize         = "entry is larger than 64 MiB"
	reasonFields       = "entry has more than 4096 fields"
	reasonFieldName    = "empty field name"
	reasonDuplicate    = "field name occurs twice"
	reasonUTF8         = "invalid UTF-8"
	reasonID           = "entry id has a part of 2^63 or more"
	reasonKind         = "unknown kind of entry"
	reasonMarker       = "marker of a loss"
	reasonAppended     = "no valid append time"
	reasonType         = "no valid type: lower-case letters, digits and underscores, at most 63, are expected"
	reasonChain        = "no valid chain: lower-case letters, digits and hyphens, at most 63, are expected"
	reasonTimestamp    = "no valid timestamp: Unix seconds or RFC 3339 are expected"
	reasonMilliseconds = "timestamp is not in seconds: Unix seconds or RFC 3339 are expected, not milliseconds"
	reasonEarly        = "timestamp lies before 1970"
	reasonLate         = "timestamp lies more than a day after the append time"
	reasonNumber       = "no valid number: a height is expected"
	reasonHash         = "no valid hash"
	reasonParentHash   = "no valid parent hash"
	reasonUnknownField = "block or revert entry with an unknown field"
	reasonNoData       = "block entry without data"
	reasonShape        = `block data is not {"block": {…}, "events": […]}`
	reasonDiffers      = "block data differs from the fields of its entry"
	reasonBlockEvent   = "event of a block without a valid type"
	reasonAncestor     = "no valid ancestor: the id of an entry before the revert is expected"
	reasonEventData    = "event data differs from the attributes of its CloudEvent"
	reasonRevertData   = `revert data is not {"ancestor": …, "number": …, "hash": …}`
)

// Earliest is the beginning of bucketed time: no public chain is older than January 2009.
var Earliest = time.Date(2009, time.January, 1, 0, 0, 0, 0, time.UTC)

// latest is the end of it. An entry's append time says what is too late, where it can be believed.
var latest = time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)

// Bucketed tells whether events of chain time t belong to buckets. Times before 2009, such as that of a genesis block
// with time 0, are readable and bucketed nowhere.
func Bucketed(t time.Time) bool { return !t.Before(Earliest) }

// Plausible tells whether t can be the time of an entry: of something that happened, or of its append.
func Plausible(t time.Time) bool { return t.Unix() >= 0 && t.Before(latest) }

// validChain accepts lower-case letters, digits and hyphens, a letter first, at most 63 of them.
func validChain(name string) bool { return validName(name, '-') }

// validType accepts lower-case letters, digits and underscores, a letter first, at most 63 of them.
func validType(name string) bool { return validName(name, '_') }

func validName(name string, joint byte) bool {
	if name == "" || len(name) > maxName || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == joint:
		default:
			return false
		}
	}
	return true
}

// validHash accepts what chains write: hexadecimal with or without 0x, base58, base64url.
func validHash(hash string) bool {
	if hash == "" || len(hash) > maxHash {
		return false
	}
	for _, c := range []byte(hash) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// checkFields looks at names and sizes, before anything else is read.
func checkFields(fields []Field) error {
	number, size := 0, 0
	for _, f := range fields {
		if !f.isTrace() { // whether an entry is traced must not decide whether it can be read
			number++
			size += len(f.Name) + len(f.Value)
		}
	}
	if number > MaxFields {
		return &Unreadable{Reason: reasonFields}
	}
	for _, f := range fields {
		if f.Name == "" {
			return &Unreadable{Reason: reasonFieldName}
		}
	}
	if hasDuplicate(fields) {
		return &Unreadable{Reason: reasonDuplicate}
	}
	if size > MaxDataBytes {
		return &Unreadable{Reason: reasonSize}
	}
	for _, f := range fields {
		if !utf8.ValidString(f.Name) || !utf8.ValidString(f.Value) {
			return &Unreadable{Reason: reasonUTF8}
		}
	}
	return nil
}

// fewFields are compared each with each: that takes no memory.
const fewFields = 16

func hasDuplicate(fields []Field) bool {
	if len(fields) <= fewFields {
		for i := range fields {
			for j := range i {
				if fields[i].Name == fields[j].Name {
					return true
				}
			}
		}
		return false
	}
	names := slices.Clone(fields)
	slices.SortFunc(names, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(names); i++ {
		if names[i-1].Name == names[i].Name {
			return true
		}
	}
	return false
}

// checkID refuses ids that cannot be kept. Redis gives none of them by itself.
func checkID(id ID) error {
	if id.Major > maxPart || id.Minor > maxPart {
		return &Unreadable{Reason: reasonID}
	}
	return nil
}

// checkTime compares a chain time with the append time of its entry, never with the clock.
func checkTime(t, appended time.Time) error {
	if appended.IsZero() {
		return &Unreadable{Reason: reasonAppended}
	}
	if t.After(appended.Add(maxAhead)) || !t.Before(latest) {
		return &Unreadable{Reason: reasonLate}
	}
	return nil
}
