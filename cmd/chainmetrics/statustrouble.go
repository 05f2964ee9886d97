package main

import (
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

type metricStatus struct {
	Metric   string    `json:"metric"`
	Stream   string    `json:"stream"`
	Reason   string    `json:"reason"`
	Count    int64     `json:"count"`
	Sample   events.ID `json:"sample"`
	LastSeen time.Time `json:"last_seen"`
}

type revertStatus struct {
	Function   string    `json:"function"`
	Stream     string    `json:"stream"`
	ID         events.ID `json:"id"`
	Ancestor   events.ID `json:"ancestor"`
	Number     uint64    `json:"number"`
	RecordedAt time.Time `json:"recorded_at"`
}

type failedStatus struct {
	Metric     string    `json:"metric"`
	BucketSize string    `json:"bucket_size"`
	Windows    int64     `json:"windows"`
	FailedAt   time.Time `json:"failed_at"`
	Error      string    `json:"error"`
}

// blockedStatus counts the windows of a size that a check keeps from being final.
type blockedStatus struct {
	Metric     string    `json:"metric"`
	BucketSize string    `json:"bucket_size"`
	Windows    int64     `json:"windows"`
	FailedAt   time.Time `json:"failed_at"`
	Failure    string    `json:"failure"` // the newest: check and message
}

// noticeStatus is what others were not told yet.
type noticeStatus struct {
	Waiting      int64      `json:"waiting"`
	Since        *time.Time `json:"since"` // the oldest that waits
	WaitingError string     `json:"waiting_error,omitempty"`
	GivenUp      int64      `json:"given_up"`
	GivenUpError string     `json:"given_up_error,omitempty"`

	stuck time.Duration // how long the oldest waits, where that is too long
}

// notificationStatus is what people were not told yet, though it was tried or should have been, or never will be.
type notificationStatus struct {
	Waiting      int64      `json:"waiting"`
	Since        *time.Time `json:"since"` // the oldest that waits
	WaitingError string     `json:"waiting_error,omitempty"`
	GivenUp      int64      `json:"given_up"` // within a week
	GivenUpError string     `json:"given_up_error,omitempty"`

	stuck time.Duration // how long the oldest waits, where that is too long
}

// noticePatience is how long a notice may wait: the scheduler looks for them every minute.
const noticePatience = 10 * time.Minute

type holeStatus struct {
	Function   string     `json:"function"`
	Stream     string     `json:"stream"`
	After      events.ID  `json:"after"`
	Next       events.ID  `json:"next"`
	Reason     string     `json:"reason"`
	AcceptedAt time.Time  `json:"accepted_at"`
	ImportedAt *time.Time `json:"imported_at,omitempty"`
}

type missingStatus struct {
	Stream string `json:"stream"`
	Chain  string `json:"chain"`
	Holes  int64  `json:"holes"`
	Blocks int64  `json:"blocks"`
}

type pausedStatus struct {
	Metric   string    `json:"metric"`
	PausedAt time.Time `json:"paused_at"`
}

// take takes over what the store knows.
func (s *status) take(t postgres.Troubles, now time.Time) {
	s.DeadLetters = t.DeadLetters
	s.MetricErrors = make([]metricStatus, len(t.MetricErrors))
	for i, m := range t.MetricErrors {
		s.MetricErrors[i] = metricStatus{m.Metric, m.Stream, m.Reason, m.Count, m.Sample, m.LastSeen.UTC()}
	}
	s.PendingReverts = make([]revertStatus, len(t.PendingReverts))
	for i, r := range t.PendingReverts {
		s.PendingReverts[i] = revertStatus{
			r.Function, r.Stream, r.ID, r.Revert.Ancestor, r.Revert.Number, r.RecordedAt.UTC(),
		}
	}
	s.FailedRuns = make([]failedStatus, len(t.FailedRuns))
	for i, f := range t.FailedRuns {
		s.FailedRuns[i] = failedStatus{f.Metric, f.Size, f.Windows, f.FailedAt.UTC(), f.Error}
	}
	s.Blocked = make([]blockedStatus, len(t.Blocked))
	for i, b := range t.Blocked {
		s.Blocked[i] = blockedStatus{b.Metric, b.Size, b.Windows, b.FailedAt.UTC(), b.Failure}
	}
	n := t.Notices
	s.Notices = noticeStatus{
		Waiting: n.Waiting, Since: utc(n.Since), WaitingError: n.WaitingError, GivenUp: n.GivenUp, GivenUpError: n.GivenUpError,
	}
	if n.Since != nil && now.Sub(*n.Since) > noticePatience {
		s.Notices.stuck = now.Sub(*n.Since)
	}
	told := t.Notifications
	s.Notifications = notificationStatus{
		Waiting: told.Waiting, Since: utc(told.Since), WaitingError: told.WaitingError, GivenUp: told.GivenUp, GivenUpError: told.GivenUpError,
	}
	if told.Since != nil && now.Sub(*told.Since) > noticePatience {
		s.Notifications.stuck = now.Sub(*told.Since)
	}
	s.Holes = make([]holeStatus, len(t.Holes))
	for i, h := range t.Holes {
		s.Holes[i] = holeStatus{h.Function, h.Stream, h.Hole.After, h.Hole.Next, h.Reason, h.AcceptedAt.UTC(), utc(h.ImportedAt)}
	}
	s.MissingBlocks = make([]missingStatus, len(t.MissingBlocks))
	for i, m := range t.MissingBlocks {
		s.MissingBlocks[i] = missingStatus(m)
	}
}
