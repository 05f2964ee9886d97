package delivery

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
)

// Lateness is how much later than newer events of its stream a flat event may come and still be expected.
const Lateness = time.Hour

// LowWater gives the chain time up to which the stream is taken to have brought everything, once the entries are applied, or
// the time before, where that is later; zero where it is not known, as after a revert.
//
// It is that of the newest block: its median time past where it says that, which no later block's time precedes by Bitcoin's
// rules; otherwise its time. Of flat events it is the newest time, which may not lie after the append, less [Lateness].
func LowWater(before time.Time, entries []Entry) time.Time {
	for _, e := range entries {
		if e.Verdict == nil && e.Content.Revert != nil {
			before = time.Time{}
		}
		if e.Verdict != nil || len(e.Content.Events) == 0 {
			continue
		}
		if at := e.LowWater(); at.After(before) {
			before = at
		}
	}
	return before
}

// LowWater is that of one entry with events.
func (e Entry) LowWater() time.Time {
	at := e.Delivery.Time
	if e.Delivery.Type != events.TypeBlock {
		if e.Delivery.Appended.Before(at) {
			at = e.Delivery.Appended
		}
		return at.Add(-Lateness)
	}
	seconds, _ := e.Content.Events[0].Fields["median_time"].(json.Number)
	if n, err := strconv.ParseInt(string(seconds), 10, 64); err == nil && n >= 0 && n < at.Unix() {
		return time.Unix(n, 0).UTC()
	}
	return at
}
