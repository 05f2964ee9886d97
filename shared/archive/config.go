package archive

import (
	"errors"
	"fmt"
	"time"
)

// Config says what is archived, for how long, and how short the streams are kept.
type Config struct {
	EventTypes []string      `envconfig:"ARCHIVE_EVENT_TYPES"`               // empty: all
	Where      string        `envconfig:"ARCHIVE_WHERE"`                     // conditions in CEL by event type, in YAML; empty: none
	Retention  time.Duration `envconfig:"ARCHIVE_RETENTION" default:"0s"`    // 0: for ever
	Keep       int64         `envconfig:"ARCHIVE_KEEP"      default:"10000"` // entries of a stream that stay in any case
	MaxLag     int64         `envconfig:"ARCHIVE_MAX_LAG"   default:"50000"` // entries that a function may be behind; 0: any number
}

// shortestRetention leaves room for windows of a month to end and be computed once.
const shortestRetention = 62 * 24 * time.Hour

// Validate names everything that is wrong at once.
func (c *Config) Validate() error {
	var wrong []error
	if _, err := c.selection(); err != nil {
		wrong = append(wrong, err)
	}
	if c.Retention != 0 && c.Retention < shortestRetention {
		wrong = append(wrong, fmt.Errorf("ARCHIVE_RETENTION is %s: want 0 for ever, or at least %s", c.Retention, shortestRetention))
	}
	if c.Keep < 0 {
		wrong = append(wrong, fmt.Errorf("ARCHIVE_KEEP is %d: want at least 0", c.Keep))
	}
	if c.MaxLag < 0 {
		wrong = append(wrong, fmt.Errorf("ARCHIVE_MAX_LAG is %d: want 0 for any number, or at least 1", c.MaxLag))
	}
	return errors.Join(wrong...)
}
