package delivery

import (
	"cmp"
	"maps"
	"slices"
)

// Pair is a chain and an event type, which belong to one stream.
type Pair struct {
	Chain, EventType string
}

// Compare orders pairs. Transactions claim them in this order.
func (p Pair) Compare(other Pair) int {
	return cmp.Or(cmp.Compare(p.Chain, other.Chain), cmp.Compare(p.EventType, other.EventType))
}

// Owners has the stream that each pair belongs to. A pair that is free is not in it.
type Owners map[Pair]string

// Foreign tells whether another stream owns one of the pairs.
func (o Owners) Foreign(stream string) bool {
	for _, owner := range o {
		if owner != stream {
			return true
		}
	}
	return false
}

// Pairs gives the pairs that the entries hold, each once, sorted.
func Pairs(entries []Entry) []Pair {
	held := make(map[Pair]struct{})
	for _, e := range entries {
		for _, event := range e.Content.Events {
			held[Pair{Chain: event.Chain, EventType: event.Type}] = struct{}{}
		}
	}
	return slices.SortedFunc(maps.Keys(held), Pair.Compare)
}

// Claims gives the pairs of those entries that are not refused which no stream owns yet, sorted.
func Claims(entries []Entry, stream string, owners Owners) []Pair {
	taken := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		_, refused := e.Refuse(stream, owners)
		return refused
	})
	return slices.DeleteFunc(Pairs(taken), func(p Pair) bool {
		_, owned := owners[p]
		return owned
	})
}
