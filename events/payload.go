package events

import "time"

// Window is a window of a metric on a chain, as the data of CloudEvents names it.
type Window struct {
	Metric      string    `json:"metric"`
	MetricType  string    `json:"metric_type"`
	Complexity  string    `json:"complexity"`
	Chain       string    `json:"chain"`
	BucketSize  string    `json:"bucket_size"`
	BucketStart time.Time `json:"bucket_start"` // UTC; the window contains its start
}

// BucketFinalized is the data of [TypeBucketFinalized]: the archive has confirmed a window after all that belongs to it had come.
// After a reorganisation, or a late event, a window becomes final once more.
type BucketFinalized struct {
	Window
	RunID             int64  `json:"run_id,omitempty"`
	Observations      *int64 `json:"observations,omitempty"` // of archived events that went into the window; nil: it was made of smaller ones
	Buckets           int64  `json:"buckets"`                // one for each set of dimensions; 0: the window is empty
	DefinitionVersion int64  `json:"definition_version"`
}

// Reasons for which a final window is revised. After all but [RevisedRebuilt] it is not final until that is told.
const (
	RevisedLate      = "late"      // an event has come to it: its values hold it already
	RevisedReverted  = "reverted"  // a reorganisation has perhaps taken back events of it: its values will be computed again
	RevisedPassed    = "passed"    // its function was moved over events
	RevisedImported  = "imported"  // events of it were imported
	RevisedCleared   = "cleared"   // a person doubts it
	RevisedCorrected = "corrected" // a smaller window, of which it may have been made, was put right
	// RevisedDependency says that a metric from which it is derived has changed, or is no longer final.
	RevisedDependency = "dependency"
	RevisedCheck      = "check"   // a run has found that it fails a check which blocks
	RevisedRebuilt    = "rebuilt" // a run has found other values
)

// BucketRevised is the data of [TypeBucketRevised]: values of a window that was final are no longer what they were.
type BucketRevised struct {
	Window
	RunID   int64  `json:"run_id,omitempty"`
	Reason  string `json:"reason"`
	Changes int64  `json:"changes,omitempty"` // how many buckets a run has changed
}

// BucketDrifted is the data of [TypeBucketDrifted]: buckets were not the state of their events, although nothing was known to be
// missing from them. They have been put right. It should never be.
type BucketDrifted struct {
	Window
	RunID   int64 `json:"run_id"`
	Changes int64 `json:"changes"` // how many buckets
}

// RunFailed is the data of [TypeRunFailed]: a window could not be computed, and will not be tried again by itself.
type RunFailed struct {
	Window
	RunID   int64  `json:"run_id"`
	Reason  string `json:"reason"` // why the run was requested
	Attempt int64  `json:"attempt"`
	Error   string `json:"error"` // of the last attempt
}

// RunRetried is the data of [TypeRunRetried]: an attempt to compute a window has failed, and another one follows.
type RunRetried struct {
	Window
	RunID         int64     `json:"run_id"`
	Reason        string    `json:"reason"`  // why the run was requested
	Attempt       int64     `json:"attempt"` // that has failed, from 1
	Error         string    `json:"error"`
	NextAttemptAt time.Time `json:"next_attempt_at"` // at the earliest
}

// RunLate is the data of [TypeRunLate]: a run of a window has had no result by the deadline of its metric's definition.
type RunLate struct {
	Window
	RunID    int64     `json:"run_id,omitempty"`
	Deadline time.Time `json:"deadline"`
}

// Severities of checks.
const (
	SeverityWarn  = "warn"
	SeverityBlock = "block" // the window does not become final
)

// CheckFailed is the data of [TypeCheckFailed]: values of a window do not pass a check of its metric's definition.
type CheckFailed struct {
	Window
	RunID    int64  `json:"run_id,omitempty"`
	Check    string `json:"check"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
}

// Changes of a metric.
const (
	MetricCreated = "created"
	MetricUpdated = "updated"
	MetricDeleted = "deleted"
)

// MetricChanged is the data of [TypeMetricChanged]: the registry has another definition of a metric, or none any more.
type MetricChanged struct {
	Metric     string `json:"metric"`
	MetricType string `json:"metric_type"`
	Complexity string `json:"complexity"`
	Change     string `json:"change"`
	Version    int64  `json:"version"` // of the definition, from 1
}
