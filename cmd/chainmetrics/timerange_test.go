package main

import (
	"testing"
	"time"
)

// TestRangesEndNow holds that windows which have not begun are not asked for.
func TestRangesEndNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 3, 1, 12, 30, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{"": {}, "2024-02": time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC), "2025-01": now} {
		r := timeRange{toText: text}
		if err := r.read(now); err != nil {
			t.Fatal(err)
		}
		if from, to := r.begun(now); !from.IsZero() || !to.Equal(want) {
			t.Errorf("to %q is from %s to %s, want to %s", text, from, to, want)
		}
	}
}
