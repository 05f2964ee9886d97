package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"time"
)

// Annotations of objects in a cluster.
const (
	// annotationApplied is a digest of what was applied. Comparing fields shows what was changed by hand; that a field is no longer
	// wanted, only this shows.
	annotationApplied = "chainmetrics.dev/applied"
	// annotationPlannedAt is when the pass began that has applied the object last.
	annotationPlannedAt = "chainmetrics.dev/planned-at"
)

// stamped gives the object as it is to be in a cluster, with its owner and a digest.
func (o Object) stamped(owner *Owner) Object {
	if owner != nil {
		o.Metadata.OwnerReferences = []Owner{*owner}
	}
	text, _ := json.Marshal(o) // texts always have a form
	digest := sha256.Sum256(text)
	o.Metadata.Annotations = map[string]string{annotationApplied: hex.EncodeToString(digest[:12])}
	return o
}

// at gives a stamped object as a pass applies it.
func (o Object) at(begin time.Time) Object {
	o.Metadata.Annotations = maps.Clone(o.Metadata.Annotations)
	o.Metadata.Annotations[annotationPlannedAt] = begin.UTC().Format(time.RFC3339Nano)
	return o
}

// heldBy tells whether a live object has every field of a stamped one. It may have others.
func (o Object) heldBy(live map[string]any) bool {
	text, _ := json.Marshal(o)
	var fields map[string]any
	_ = json.Unmarshal(text, &fields) // it was made just now
	return holds(live, fields)
}

// holds compares values of JSON: of a list each element wanted must be there.
func holds(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		for name, value := range want {
			if !ok || !holds(have[name], value) {
				return false
			}
		}
		return ok
	case []any:
		have, ok := have.([]any)
		for _, element := range want {
			if !ok || !holdsElement(have, element) {
				return false
			}
		}
		return ok
	default:
		return have == want // texts: planned objects have no others
	}
}

func holdsElement(have []any, want any) bool {
	for _, element := range have {
		if holds(element, want) {
			return true
		}
	}
	return false
}
