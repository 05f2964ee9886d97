package metric

import (
	"cmp"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

const day = 24 * time.Hour

// Tick is when a function is woken for the windows of a size: five fields of cron, or a descriptor such as @daily, and their time
// zone. Each time is the first whole minute at which a window is due by [Definition.DueAt], or as soon after it as cron can say for
// all months alike. Windows shorter than an hour have one tick an hour: the sweep sees to them meanwhile. It fails where the
// schedule is not valid.
func (d Definition) Tick(size bucket.Size) (expression, timezone string, err error) {
	if d.Cron != "" {
		schedule, err := d.cron()
		if err != nil {
			return "", "", err
		}
		if _, ok := schedule.(*cron.SpecSchedule); ok {
			return d.Cron, cmp.Or(d.Timezone, utc), nil
		}
		return d.hourly(size), utc, nil // @every, which only this process could count
	}
	due := time.Duration(d.Grace) + time.Duration(d.hash(size))*time.Second%spread
	due = (due + time.Minute - 1).Truncate(time.Minute)
	switch size {
	case bucket.Minutely, bucket.TenMinutely:
		return d.hourly(size), utc, nil
	case bucket.Hourly:
		return fmt.Sprintf("%d * * * *", minute(due)), utc, nil
	case bucket.Daily:
		return fmt.Sprintf("%d %d * * *", minute(due), hour(due)), utc, nil
	case bucket.Weekly:
		return fmt.Sprintf("%d %d * * %d", minute(due), hour(due), (time.Monday+time.Weekday(due/day))%7), utc, nil
	case bucket.Monthly:
		return monthly(due), utc, nil
	default:
		return "", "", fmt.Errorf("tick of bucket size %s: it has none", size)
	}
}

// hourly is every hour at a minute of the metric's and size's own.
func (d Definition) hourly(size bucket.Size) string {
	return fmt.Sprintf("%d * * * *", d.hash(size)%60)
}

func minute(d time.Duration) int { return int(d / time.Minute % 60) }

func hour(d time.Duration) int { return int(d / time.Hour % 24) }

// monthly is at a time in each month. What is due months after the end of its window is due at the latest so many of the shortest
// months, and a rest, after it. A day that some months lack is the first one of the next month.
func monthly(due time.Duration) string {
	months := 0
	for shortest(months+1) <= due {
		months++
	}
	rest := due - shortest(months)
	if rest >= shortest(1) {
		rest = 0
	}
	return fmt.Sprintf("%d %d %d * *", minute(rest), hour(rest), rest/day+1)
}

// shortest is the time that some months in a row have at least: those from February of a common year on.
func shortest(months int) time.Duration {
	february := time.Date(2001, time.February, 1, 0, 0, 0, 0, time.UTC)
	return february.AddDate(0, months, 0).Sub(february)
}
