package main

import (
	"fmt"
	"strconv"
	"time"
)

// timeHelp says what parseTime reads.
const timeHelp = "2009-01-09, 2009-01, 2009-01-09T12:00:00Z, or how long ago: 36h, 7d, 2w"

// parseTime reads a point in time: a day, a month, RFC 3339, or how long ago. The empty text is the zero time.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if text == "now" {
		return now.UTC(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", "2006-01-02", "2006-01"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	count, err := strconv.ParseUint(text[:len(text)-1], 10, 31)
	if err == nil {
		switch n := int(count); text[len(text)-1] {
		case 'm':
			return now.UTC().Add(-time.Duration(n) * time.Minute), nil
		case 'h':
			return now.UTC().Add(-time.Duration(n) * time.Hour), nil
		case 'd':
			return now.UTC().AddDate(0, 0, -n), nil
		case 'w':
			return now.UTC().AddDate(0, 0, -7*n), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write %s", text, timeHelp)
}

// utc gives a time that may be unknown in UTC.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}
