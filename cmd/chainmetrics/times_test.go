package main

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 3, 1, 12, 30, 0, 0, time.FixedZone("", 3600))
	tests := map[string]string{
		"2009-01-09":                "2009-01-09T00:00:00Z",
		"2009-01":                   "2009-01-01T00:00:00Z",
		"2009-01-09T12:30":          "2009-01-09T12:30:00Z",
		"2009-01-09T12:30:01.5Z":    "2009-01-09T12:30:01.5Z",
		"2009-01-09T12:30:00+02:00": "2009-01-09T10:30:00Z",
		"now":                       "2024-03-01T11:30:00Z",
		"90m":                       "2024-03-01T10:00:00Z",
		"36h":                       "2024-02-28T23:30:00Z",
		"1d":                        "2024-02-29T11:30:00Z",
		"2w":                        "2024-02-16T11:30:00Z",
	}
	for text, want := range tests {
		got, err := parseTime(text, now)
		if err != nil || got.Format(time.RFC3339Nano) != want || got.Location() != time.UTC {
			t.Errorf("%s reads as %v, %v, want %s", text, got, err, want)
		}
	}
	if got, err := parseTime("", now); err != nil || !got.IsZero() {
		t.Errorf("nothing reads as %v, %v", got, err)
	}
	for _, text := range []string{"d", "7", "-7d", "7y", "2009-13", "yesterday", "99999999999999999999d"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%s reads as %v", text, got)
		}
	}
}
