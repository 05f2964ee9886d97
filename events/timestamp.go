package events

import (
	"strconv"
	"strings"
	"time"
)

// Unix seconds at and beyond this one, in the year 5138, can only be another unit.
const absurdSeconds = 100_000_000_000

// parseTimestamp reads a chain time: Unix seconds in decimal, which may have a fraction; RFC 3339; or the form of SQL
// exports, "2006-01-02 15:04:05[.ffffff] UTC". The time is UTC, truncated to microseconds, not before 1970.
func parseTimestamp(text string) (time.Time, error) {
	if seconds, fraction, ok := cutSeconds(text); ok {
		return unixTime(seconds, fraction)
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 UTC"} {
		if t, err := time.Parse(layout, text); err == nil {
			if t.Unix() < 0 {
				return time.Time{}, &Unreadable{Reason: reasonEarly}
			}
			return t.UTC().Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, &Unreadable{Reason: reasonTimestamp}
}

// cutSeconds splits "-?digits[.digits]" at its point.
func cutSeconds(text string) (seconds, fraction string, ok bool) {
	seconds, fraction, point := strings.Cut(text, ".")
	digits := strings.TrimPrefix(seconds, "-")
	if !isDigits(digits) || point && !isDigits(fraction) {
		return "", "", false
	}
	return seconds, fraction, true
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

func unixTime(seconds, fraction string) (time.Time, error) {
	if strings.HasPrefix(seconds, "-") {
		return time.Time{}, &Unreadable{Reason: reasonEarly}
	}
	whole, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || whole >= absurdSeconds {
		return time.Time{}, &Unreadable{Reason: reasonMilliseconds}
	}
	micros, err := strconv.ParseInt((fraction + "000000")[:6], 10, 64)
	if err != nil {
		return time.Time{}, &Unreadable{Reason: reasonTimestamp}
	}
	return time.UnixMicro(whole*1_000_000 + micros).UTC(), nil
}

// parseMillis reads a time in milliseconds since 1970, between the years 1970 and 5138; zero where it is none.
func parseMillis(text string) time.Time {
	ms, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return time.Time{}
	}
	return millis(ms)
}

func millis(ms uint64) time.Time {
	if ms >= absurdSeconds*1000 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}
