package source

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/binding"
)

// Config says which function is fed, and how.
type Config struct {
	binding.Config

	Function string   `envconfig:"FUNCTION"` // its name, which its consumer groups bear
	Streams  []string `envconfig:"STREAMS"`  // default all that are announced, also later ones

	BatchEntries   int           `envconfig:"SOURCE_BATCH_ENTRIES"   default:"2000"`
	BatchBytes     int64         `envconfig:"SOURCE_BATCH_BYTES"     default:"4194304"`
	RequestTimeout time.Duration `envconfig:"SOURCE_REQUEST_TIMEOUT" default:"90s"` // time for a function to start and answer
	Takeover       time.Duration `envconfig:"SOURCE_TAKEOVER"        default:"5s"`  // standstill after which a standby delivers
	Recheck        time.Duration `envconfig:"SOURCE_RECHECK"         default:"1s"`  // between looks at lost streams, new streams, lags
	// QuarantineAfter is how long an entry must fail by itself, while the function is well, before it is given up; 0: it never is.
	QuarantineAfter time.Duration `envconfig:"SOURCE_QUARANTINE_AFTER" default:"1m"`
	Grace           time.Duration `envconfig:"SOURCE_GRACE"           default:"5s"` // for a delivery in flight at SIGTERM
}

var functionPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// Validate names everything that is wrong.
func (cfg *Config) Validate() error {
	var wrong []error
	if !functionPattern.MatchString(cfg.Function) {
		wrong = append(wrong, errors.New("FUNCTION is required: lower-case letters, digits and hyphens"))
	}
	if err := cfg.Config.Validate(); err != nil {
		wrong = append(wrong, err)
	}
	if slices.Contains(cfg.Streams, "") {
		wrong = append(wrong, errors.New("STREAMS has an empty name"))
	}
	for name, positive := range map[string]bool{
		"SOURCE_BATCH_ENTRIES": cfg.BatchEntries > 0, "SOURCE_BATCH_BYTES": cfg.BatchBytes > 0,
		"SOURCE_REQUEST_TIMEOUT": cfg.RequestTimeout > 0, "SOURCE_TAKEOVER": cfg.Takeover > 0,
		"SOURCE_RECHECK": cfg.Recheck > 0, "SOURCE_GRACE": cfg.Grace > 0,
	} {
		if !positive {
			wrong = append(wrong, fmt.Errorf("%s must be more than zero", name))
		}
	}
	return errors.Join(wrong...)
}
