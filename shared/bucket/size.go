// Package bucket defines time buckets: their sizes, windows, keys.
package bucket

import (
	"fmt"
	"iter"
	"strings"
	"time"
)

// Size is the length of a window.
type Size uint8

// The bucket sizes, from small to large. Windows of every size begin at whole units of UTC; weeks begin on Monday.
const (
	Minutely Size = iota + 1
	TenMinutely
	Hourly
	Daily
	Weekly
	Monthly
)

var sizeNames = map[Size]string{
	Minutely:    "minutely",
	TenMinutely: "10-minutely",
	Hourly:      "hourly",
	Daily:       "daily",
	Weekly:      "weekly",
	Monthly:     "monthly",
}

// Sizes gives all bucket sizes, from small to large.
func Sizes() []Size {
	return []Size{Minutely, TenMinutely, Hourly, Daily, Weekly, Monthly}
}

// Names gives the text forms of bucket sizes.
func Names(sizes []Size) []string {
	names := make([]string, len(sizes))
	for i, size := range sizes {
		names[i] = size.String()
	}
	return names
}

// ParseSize reads the text form of a bucket size.
func ParseSize(text string) (Size, error) {
	for _, size := range Sizes() {
		if size.String() == text {
			return size, nil
		}
	}
	return 0, fmt.Errorf("unknown bucket size %q: want one of %s", text, strings.Join(Names(Sizes()), ", "))
}

// String gives the text form, which is also the one in the store.
func (s Size) String() string {
	if name, ok := sizeNames[s]; ok {
		return name
	}
	return fmt.Sprintf("Size(%d)", uint8(s))
}

// MarshalText gives the text form.
func (s Size) MarshalText() ([]byte, error) {
	if _, ok := sizeNames[s]; !ok {
		return nil, fmt.Errorf("unknown bucket size %d", uint8(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads the text form.
func (s *Size) UnmarshalText(text []byte) error {
	parsed, err := ParseSize(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// Child gives the largest of some sizes whose windows make up the windows of s, where there is one.
func (s Size) Child(of []Size) (child Size, ok bool) {
	for _, size := range of {
		if size < s && size > child && (s != Monthly || size != Weekly) {
			child = size
		}
	}
	return child, child != 0
}

// Window gives the window of this size that contains t.
func (s Size) Window(t time.Time) Window {
	start := s.start(t.UTC())
	return Window{Start: start, End: s.next(start)}
}

// Windows gives, in order, every window that overlaps [from, to).
func (s Size) Windows(from, to time.Time) iter.Seq[Window] {
	return func(yield func(Window) bool) {
		for w := s.Window(from); w.Start.Before(to); w = s.Window(w.End) {
			if !yield(w) {
				return
			}
		}
	}
}

func (s Size) start(t time.Time) time.Time {
	year, month, day := t.Date()
	switch s {
	case Minutely:
		return time.Date(year, month, day, t.Hour(), t.Minute(), 0, 0, time.UTC)
	case TenMinutely:
		return time.Date(year, month, day, t.Hour(), t.Minute()/10*10, 0, 0, time.UTC)
	case Hourly:
		return time.Date(year, month, day, t.Hour(), 0, 0, 0, time.UTC)
	case Daily:
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	case Weekly:
		sinceMonday := (int(t.Weekday()) + 6) % 7
		return time.Date(year, month, day-sinceMonday, 0, 0, 0, 0, time.UTC)
	case Monthly:
		return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	}
	panic(fmt.Sprintf("bucket: %s is no bucket size", s))
}

func (s Size) next(start time.Time) time.Time {
	switch s {
	case Minutely:
		return start.Add(time.Minute)
	case TenMinutely:
		return start.Add(10 * time.Minute)
	case Hourly:
		return start.Add(time.Hour)
	case Daily:
		return start.AddDate(0, 0, 1)
	case Weekly:
		return start.AddDate(0, 0, 7)
	case Monthly:
		return start.AddDate(0, 1, 0)
	}
	panic(fmt.Sprintf("bucket: %s is no bucket size", s))
}
