package events

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
)

// metadataPrefix begins the names of fields that are not part of an entry's content.
const metadataPrefix = "chainmetrics."

// ContentHash tells entries of one id apart: it is the block's own hash for a block entry, otherwise SHA-256 in hex over
// the fields, sorted by name and value, each name and value after its length in eight bytes, big-endian. Metadata is
// left out, since a retried append may change it: "chainmetrics." fields, traceparent, tracestate.
func (e Entry) ContentHash() string {
	if hash, ok := e.blockHash(); ok {
		return hash
	}
	fields := make([]Field, 0, len(e.Fields))
	for _, f := range e.Fields {
		if !isMetadata(f.Name) {
			fields = append(fields, f)
		}
	}
	slices.SortFunc(fields, func(a, b Field) int {
		if order := strings.Compare(a.Name, b.Name); order != 0 {
			return order
		}
		return strings.Compare(a.Value, b.Value)
	})
	sum := sha256.New()
	var length [8]byte
	for _, f := range fields {
		for _, text := range [2]string{f.Name, f.Value} {
			binary.BigEndian.PutUint64(length[:], uint64(len(text)))
			sum.Write(length[:])
			sum.Write([]byte(text))
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// blockHash gives the hash that a block entry names, where it names exactly one.
func (e Entry) blockHash() (string, bool) {
	if kind, ok := e.only(FieldKind); !ok || kind != kindBlock {
		return "", false
	}
	hash, ok := e.only(FieldHash)
	return hash, ok && validHash(hash)
}

// only gives the value of the one field of that name; ok is false where there is none, or more than one.
func (e Entry) only(name string) (value string, ok bool) {
	for _, f := range e.Fields {
		if f.Name == name {
			if ok {
				return "", false
			}
			value, ok = f.Value, true
		}
	}
	return value, ok
}

// OfFeed tells whether the entry is of a kind that feeds alone write: a block or a revert.
func (e Entry) OfFeed() bool {
	kind, _ := e.only(FieldKind)
	return kind == kindBlock || kind == kindRevert
}

// Link gives what ties a block or revert entry of a feed to its neighbours: the hash of the block that it leaves at the
// chain's tip and, for a block, the hash of the block before it. Both are empty for any other entry.
func (e Entry) Link() (tip, parent string) {
	if !e.OfFeed() {
		return "", ""
	}
	if hash, ok := e.only(FieldHash); ok && validHash(hash) {
		tip = hash
	}
	if hash, ok := e.only(FieldParentHash); ok && validHash(hash) { // a revert has none
		parent = hash
	}
	return tip, parent
}

func isMetadata(name string) bool {
	return strings.HasPrefix(name, metadataPrefix) || name == FieldTraceparent || name == FieldTracestate
}
