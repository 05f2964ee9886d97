package metric

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
	_ "time/tzdata" // a time zone is known on every machine or on none

	"github.com/robfig/cron/v3"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// Schedule says when windows are computed from the archive, and how often that is tried. The zero value is all defaults.
type Schedule struct {
	StartDate        time.Time `json:"start_date,omitzero"`         // windows that begin before it are not computed; zero: all are
	Catchup          *bool     `json:"catchup,omitempty"`           // default true; false: no windows that were over before the metric
	Cron             string    `json:"schedule,omitempty"`          // five fields; default: as soon as a window is over, and its grace
	Timezone         string    `json:"schedule_timezone,omitempty"` // of Cron, such as Europe/Berlin; default UTC
	Grace            Duration  `json:"grace,omitempty"`             // how long to wait after the end of a window, at least
	Retries          *int      `json:"retries,omitempty"`           // after the first attempt; default 3
	RetryDelay       Duration  `json:"retry_delay,omitempty"`       // before the first retry; twice as long before each other one
	MaxActiveRuns    int       `json:"max_active_runs,omitempty"`   // of a bucket size, each of windows in a row; default 1
	ExecutionTimeout Duration  `json:"execution_timeout,omitempty"` // of an attempt; default, and at most, [LongestRun]
	DependsOnPast    bool      `json:"depends_on_past,omitempty"`   // a window waits for those before it
	Deadline         Duration  `json:"deadline,omitempty"`          // after a run was requested; when it passes without a result, others are told; zero: never
}

// Defaults and bounds of a schedule.
const (
	DefaultRetries    = 3
	defaultRetryDelay = 5 * time.Minute
	longestRetryDelay = time.Hour // unless the first one is longer
	maxRetries        = 100
	maxActiveRuns     = 100
	maxDuration       = 366 * 24 * time.Hour

	// LongestRun is how long an attempt to compute windows may take.
	LongestRun = 5 * time.Minute
	// spread is the time over which the windows that end at the same time are computed, each metric at a moment of its own.
	spread = 5 * time.Minute

	utc = "UTC"
)

// Duration is a length of time, as text such as 5m or 1h30m.
type Duration time.Duration

// MarshalText gives the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what [time.ParseDuration] does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// CatchesUp tells whether windows are computed that were over before there was the metric.
func (s Schedule) CatchesUp() bool { return s.Catchup == nil || *s.Catchup }

// SameStart tells whether the same windows are computed under both.
func (s Schedule) SameStart(other Schedule) bool {
	return s.StartDate.Equal(other.StartDate) && s.CatchesUp() == other.CatchesUp()
}

// MayRetry tells whether a run that has failed so many times is tried again, and how long after the last time.
func (s Schedule) MayRetry(failed int) (after time.Duration, ok bool) {
	retries, delay := DefaultRetries, defaultRetryDelay
	if s.Retries != nil {
		retries = *s.Retries
	}
	if s.RetryDelay > 0 {
		delay = time.Duration(s.RetryDelay)
	}
	for range min(failed, retries) - 1 {
		if delay >= longestRetryDelay {
			break
		}
		delay = min(2*delay, longestRetryDelay)
	}
	return delay, failed <= retries
}

// Timeout is how long an attempt may take.
func (s Schedule) Timeout() time.Duration {
	if s.ExecutionTimeout == 0 {
		return LongestRun
	}
	return time.Duration(s.ExecutionTimeout)
}

// DueAt is when a window of a size that ends at a time is due by the clock. Without a schedule of its own, a metric waits after the
// grace for up to five minutes, which its name and the size determine, so that not all are computed at once. It fails where the
// schedule is not valid.
func (d Definition) DueAt(size bucket.Size, end time.Time) (time.Time, error) {
	end = end.Add(time.Duration(d.Grace))
	if d.Cron == "" {
		return end.Add(time.Duration(d.hash(size)) * time.Second % spread), nil
	}
	schedule, err := d.cron()
	if err != nil {
		return time.Time{}, err
	}
	return schedule.Next(end.Add(-time.Nanosecond)).UTC(), nil
}

// hash is a number of a metric and size that tells them from others.
func (d Definition) hash(size bucket.Size) uint32 {
	hash := fnv.New32a()
	_, _ = fmt.Fprintf(hash, "%s %s", d.Name, size)
	return hash.Sum32()
}

// cron reads the schedule and its timezone.
func (s Schedule) cron() (cron.Schedule, error) {
	timezone := cmp.Or(s.Timezone, utc)
	// Go, and Knative with it, takes Local for the zone of the process; localtime is a file of some machines.
	if strings.HasPrefix(strings.ToLower(timezone), "local") {
		return nil, zoneError(fmt.Sprintf("%.60q is the zone of whatever machine reads it", timezone))
	}
	location, err := time.LoadLocation(timezone)
	if err != nil {
		return nil, zoneError(fmt.Sprintf("unknown time zone %.60q", timezone))
	}
	if strings.Contains(s.Cron, "TZ=") {
		return nil, &FieldError{Field: "schedule", Problem: "has a time zone: write that as schedule_timezone"}
	}
	parsed, err := cron.ParseStandard(s.Cron)
	if err != nil {
		return nil, &FieldError{Field: "schedule", Problem: fmt.Sprintf("%v: write five fields such as 10 * * * *", err)}
	}
	if spec, ok := parsed.(*cron.SpecSchedule); ok {
		spec.Location = location
		if spec.Next(time.Unix(0, 0)).IsZero() {
			return nil, &FieldError{Field: "schedule", Problem: fmt.Sprintf("%.60q never comes: write one such as 10 * * * *", s.Cron)}
		}
	}
	return parsed, nil
}

func zoneError(problem string) *FieldError {
	return &FieldError{Field: "schedule_timezone", Problem: problem + ": write one such as Europe/Berlin"}
}

func (c *checker) schedule(s Schedule) {
	if s.Cron != "" || s.Timezone != "" {
		if s.Cron == "" {
			c.refuse("schedule_timezone", "has no schedule: write schedule: 10 * * * *, for example, or leave it out")
		} else if _, err := s.cron(); err != nil {
			c.mistakes = append(c.mistakes, err.(*FieldError)) //nolint:errorlint,forcetypeassert // it gives no other
		}
	}
	if s.Retries != nil && (*s.Retries < 0 || *s.Retries > maxRetries) {
		c.refuse("retries", "%d is no sensible number: write one from 0 to %d", *s.Retries, maxRetries)
	}
	if s.MaxActiveRuns < 0 || s.MaxActiveRuns > maxActiveRuns {
		c.refuse("max_active_runs", "%d is no sensible number: write one from 1 to %d", s.MaxActiveRuns, maxActiveRuns)
	}
	if s.ExecutionTimeout != 0 && (time.Duration(s.ExecutionTimeout) < time.Second || time.Duration(s.ExecutionTimeout) > LongestRun) {
		c.refuse("execution_timeout", "%s is out of bounds: write one from 1s to %s", time.Duration(s.ExecutionTimeout), LongestRun)
	}
	c.duration("grace", s.Grace)
	c.duration("retry_delay", s.RetryDelay)
	c.duration("deadline", s.Deadline)
}

func (c *checker) duration(field string, d Duration) {
	if time.Duration(d) < 0 || time.Duration(d) > maxDuration {
		c.refuse(field, "%s is out of bounds: write one up to %s", time.Duration(d), maxDuration)
	}
}
