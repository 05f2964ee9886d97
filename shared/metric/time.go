package metric

import (
	"errors"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// TimeSkew is how far the time of an observation may lie from its event's chain time.
const TimeSkew = 7 * 24 * time.Hour

// Skew is how far the windows of an event may lie from its chain time.
func (d Definition) Skew() time.Duration {
	if d.Calculation.Stream == nil || d.Calculation.Stream.Time == "" {
		return 0
	}
	return TimeSkew
}

// chainTimes are expressions of times that never lie before what the stream has brought: the block's own, and its median time.
var chainTimes = []string{"", "event.timestamp", "block.timestamp", "event.median_time", "block.median_time"}

// Delay is how much more of the stream than up to the end of a window must have come, in chain time, until all that belongs to
// the window has.
func (d Definition) Delay() time.Duration {
	if d.Calculation.Stream == nil || slices.Contains(chainTimes, strings.TrimSpace(d.Calculation.Stream.Time)) {
		return 0
	}
	return TimeSkew
}

const microsecondPlaces = 6

var (
	errNotTime = errors.New("neither Unix seconds nor a text such as 2009-01-03T18:15:05Z")
	errFarTime = errors.New("more than 7 days from the event's chain time")
)

// at gives the time of an observation, in UTC, truncated to microseconds.
func (p *Program) at(s *scope, chainTime time.Time) (time.Time, error) {
	if p.time == nil {
		return chainTime.UTC().Truncate(time.Microsecond), nil
	}
	value, err := p.time.evaluate(s)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	switch v := value.(type) {
	case number:
		at, err = unixTime(v.Decimal)
	case types.String:
		at, err = parseTime(string(v))
	default:
		err = errNotTime
	}
	if err != nil {
		return time.Time{}, err
	}
	if skew := at.Sub(chainTime); skew < -TimeSkew || skew > TimeSkew {
		return time.Time{}, errFarTime
	}
	return at, nil
}

func unixTime(seconds decimal.Decimal) (time.Time, error) {
	micros, err := seconds.Shift(microsecondPlaces)
	if err != nil {
		return time.Time{}, errFarTime
	}
	n, ok := micros.Floor().Int64()
	if !ok {
		return time.Time{}, errFarTime
	}
	return time.UnixMicro(n).UTC(), nil
}

// parseTime reads RFC 3339, and the form in which BigQuery exports times.
func parseTime(text string) (time.Time, error) {
	layout := time.RFC3339
	if strings.HasSuffix(text, " UTC") {
		layout = "2006-01-02 15:04:05 UTC"
	}
	at, err := time.Parse(layout, text) // a fraction after the seconds is read too
	if err != nil {
		return time.Time{}, errNotTime
	}
	return at.UTC().Truncate(time.Microsecond), nil
}
