package row

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var errTime = errors.New("no time: Unix seconds or milliseconds, RFC 3339, or 2006-01-02 15:04:05 in UTC are expected")

// firstMillis is the number from which on a time is in milliseconds: as seconds it would lie in the year 5138.
const firstMillis = 100_000_000_000

// ParseTime reads a chain time in the forms that exports write: Unix seconds, which may have a fraction, or milliseconds,
// RFC 3339, or 2006-01-02 15:04:05 with or without UTC behind it. It is UTC, truncated to microseconds.
func ParseTime(text string) (time.Time, error) {
	at, err := parseUnix(text)
	for _, layout := range []string{
		time.RFC3339, "2006-01-02 15:04:05 UTC", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05",
		"2006-01-02T15:04:05",
	} {
		if err == nil {
			break
		}
		at, err = time.Parse(layout, text)
	}
	switch {
	case err != nil:
		return time.Time{}, errTime
	case at.Unix() < 0:
		return time.Time{}, errors.New("it lies before 1970")
	}
	return at.UTC().Truncate(time.Microsecond), nil
}

func parseUnix(text string) (time.Time, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" {
		return time.Time{}, errTime
	}
	if n >= firstMillis {
		return time.UnixMilli(n), nil
	}
	micros, err := strconv.ParseInt((fraction + "000000")[:6], 10, 64)
	if err != nil {
		return time.Time{}, errTime
	}
	return time.Unix(n, micros*int64(time.Microsecond)), nil
}
