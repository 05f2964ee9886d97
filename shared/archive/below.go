package archive

import (
	"strings"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Below is what the store holds of a stream below its end, read under the lock.
type Below struct {
	Mark     watermark.Mark
	LowWater time.Time
	Feed     bool      // ids are those of a feed, so that they tell what lies below
	Floor    time.Time // of the archive; zero: minus infinity
	Height   int64     // of the newest block, -1 where there is none
	Owners   delivery.Owners
	LeftOut  map[delivery.Pair]bool // pairs that the archive leaves out
	Blocks   map[int64]Block        // that it has of the request's heights, and of those beside them
	Held     map[string]int         // how many flat entries it has of each content hash of the request
}

// Block is a block of the archive.
type Block struct {
	Hash, Parent string // Parent is empty, or zeros, where it is not known
}

// beyond tells whether the stream can still bring an entry.
func (b Below) beyond(e Imported) bool {
	switch {
	case b.Feed && e.Height >= 0:
		return e.Height > b.Height
	case b.Feed:
		return e.ID.Compare(b.Mark.ID) > 0
	default:
		return b.LowWater.IsZero() || e.Time.After(b.LowWater.Add(delivery.Lateness))
	}
}

// has tells whether the archive has an entry. It fails where it has another block in its place.
func (b Below) has(e Imported) (bool, error) {
	if e.Height < 0 {
		return e.Occurrence <= b.Held[e.Hash], nil
	}
	if block, ok := b.Blocks[e.Height]; ok {
		if block.Hash != e.Hash {
			return false, e.refuse("block %d is %s, the archive has %s", e.Height, e.Hash, block.Hash)
		}
		return true, nil
	}
	if parent, ok := b.Blocks[e.Height-1]; ok && differ(e.ParentHash, parent.Hash) {
		return false, e.refuse("block %d is the child of %s, the archive has %s below it", e.Height, e.ParentHash, parent.Hash)
	}
	if child, ok := b.Blocks[e.Height+1]; ok && differ(child.Parent, e.Hash) {
		return false, e.refuse("block %d is %s, the archive has a child of %s above it", e.Height, e.Hash, child.Parent)
	}
	return false, nil
}

// differ tells whether the hash of a parent, where it is known, is another one.
func differ(parent, hash string) bool { return strings.Trim(parent, "0") != "" && parent != hash }

// effects gives what entries leave behind, and how many there were of what kind.
func (b Below) effects(stream string, batch []Imported) (effects ImportEffects, counts ImportCounts, err error) {
	effects.LeftOut = make(map[delivery.Pair]int64)
	var opened []delivery.Entry
	for _, e := range batch {
		if b.beyond(e) {
			counts.Beyond++
			continue
		}
		held, err := b.has(e)
		if err != nil {
			return ImportEffects{}, counts, err
		}
		if held {
			counts.Known++
			continue
		}
		if e.Time.Before(b.Floor) {
			return ImportEffects{}, counts, e.refuse("it is of %s, the archive is whole from %s on, and keeps nothing from before",
				e.Time.Format(time.RFC3339), b.Floor.Format(time.RFC3339))
		}
		if letter, refused := e.opened.Refuse(stream, b.Owners); refused {
			return ImportEffects{}, counts, e.refuse("%s", letter.Reason)
		}
		selected := e.Events[:0:0]
		for _, event := range e.Events {
			if pair := (delivery.Pair{Chain: e.Chain, EventType: event.Type}); b.LeftOut[pair] {
				effects.LeftOut[pair]++
				continue
			}
			selected = append(selected, event)
		}
		e.Events = selected
		b.Blocks[e.Height] = Block{Hash: e.Hash, Parent: e.ParentHash}
		effects.Entries, opened = append(effects.Entries, e), append(opened, e.opened)
		counts.Imported++
	}
	effects.Claims = delivery.Claims(opened, stream, b.Owners)
	return effects, counts, nil
}
