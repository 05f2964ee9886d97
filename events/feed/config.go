package main

import (
	"errors"
	"fmt"
	"time"
)

// Config is how a feed works, read from the environment.
type Config struct {
	Chain  string `envconfig:"CHAIN" default:"bitcoin"`
	Stream string `envconfig:"STREAM"` // default blockchain_events:<chain>
	// Follow stays when everything is fed, and watches for new blocks and for losses of the stream.
	Follow bool `envconfig:"FOLLOW"`
	// Interval is how often the files are searched for new blocks and the stream for losses.
	Interval time.Duration `envconfig:"FEED_INTERVAL" default:"5s"`
	// Confirmations is how many blocks must follow one before it is fed. Near the tip of a node that runs, 6 keeps
	// branches out that are given up later.
	Confirmations uint64 `envconfig:"FEED_CONFIRMATIONS"`
	// Limit is how many entries may lie above the lowest watermark of the stream's functions; then the feed waits.
	Limit        int     `envconfig:"FEED_LIMIT" default:"100000"`
	BatchEntries int     `envconfig:"FEED_BATCH_ENTRIES" default:"250"`
	BatchBytes   int     `envconfig:"FEED_BATCH_BYTES" default:"4194304"`
	Rate         float64 `envconfig:"FEED_RATE"` // blocks per second; 0: as fast as it goes
}

// Validate sets the stream's default name, and names everything that is wrong at once.
func (cfg *Config) Validate() error {
	var wrong []error
	if cfg.Chain != "bitcoin" {
		wrong = append(wrong, fmt.Errorf("CHAIN is %q: want bitcoin", cfg.Chain))
	}
	if cfg.Stream == "" {
		cfg.Stream = "blockchain_events:" + cfg.Chain
	}
	if cfg.Interval < 100*time.Millisecond {
		wrong = append(wrong, fmt.Errorf("FEED_INTERVAL is %s: want at least 100ms", cfg.Interval))
	}
	if cfg.Limit < 1 {
		wrong = append(wrong, fmt.Errorf("FEED_LIMIT is %d: want at least 1 entry", cfg.Limit))
	}
	if cfg.BatchEntries < 1 || cfg.BatchEntries > 10_000 {
		wrong = append(wrong, fmt.Errorf("FEED_BATCH_ENTRIES is %d: want 1 to 10000", cfg.BatchEntries))
	}
	if cfg.BatchBytes < 1 || cfg.BatchBytes > 64<<20 { // Redis stands still while it appends
		wrong = append(wrong, fmt.Errorf("FEED_BATCH_BYTES is %d: want 1 to 67108864", cfg.BatchBytes))
	}
	if !(cfg.Rate >= 0) {
		wrong = append(wrong, errors.New("FEED_RATE is negative: want blocks per second, or 0 for no limit"))
	}
	return errors.Join(wrong...)
}
