package aggregate

import (
	"fmt"
	"iter"
	"slices"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// byWindow gives each window of sorted keys, as a key for all sets of dimensions, with its keys.
func byWindow(keys []bucket.Key) iter.Seq2[bucket.Key, []bucket.Key] {
	return func(yield func(bucket.Key, []bucket.Key) bool) {
		for len(keys) > 0 {
			window, end := keys[0].AllDimensions(), 1
			for end < len(keys) && keys[end].AllDimensions() == window {
				end++
			}
			if !yield(window, keys[:end]) {
				return
			}
			keys = keys[end:]
		}
	}
}

// limited gives the windows whose sets of dimensions have a limit, in the order of the keys.
func (g *gathering) limited(compiled *programs) []bucket.Key {
	var windows []bucket.Key
	for window := range byWindow(g.keys) {
		if compiled.metrics[window.Metric].Definition.MaxDimensions > 0 {
			windows = append(windows, window)
		}
	}
	return windows
}

// admit gives those keys of a window that are stored or find room beside the sets that it holds, and how many of them are
// new. New sets are let in in the order in which they were met; what was observed of the others counts as metric errors.
func (g *gathering) admit(window bucket.Key, keys []bucket.Key, stored map[bucket.Key][]byte, limit, sets int) (
	admitted []bucket.Key, more int,
) {
	var fresh []bucket.Key
	for _, key := range keys {
		if _, ok := stored[key]; ok {
			admitted = append(admitted, key)
		} else {
			fresh = append(fresh, key)
		}
	}
	room := max(0, limit-sets)
	if len(fresh) <= room {
		return keys, len(fresh)
	}
	slices.SortFunc(fresh, func(a, b bucket.Key) int { return g.buckets[a].first - g.buckets[b].first })
	full := failure{metric: window.Metric, reason: fmt.Sprintf("dimensions: more than %d sets in a window, %s", limit, window.Size)}
	for _, key := range fresh[room:] {
		g.fail(full, g.buckets[key].observations, g.buckets[key].newest)
	}
	admitted = append(admitted, fresh[:room]...)
	slices.SortFunc(admitted, bucket.Key.Compare)
	return admitted, room
}
