package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{Chain: "bitcoin", Interval: time.Second, Limit: 1, BatchEntries: 1, BatchBytes: 1}
	if err := good.Validate(); err != nil || good.Stream != "blockchain_events:bitcoin" {
		t.Errorf("got %v, stream %q", err, good.Stream)
	}
	large := good
	large.BatchBytes = 64<<20 + 1
	if err := large.Validate(); err == nil || !strings.Contains(err.Error(), "FEED_BATCH_BYTES") {
		t.Errorf("a batch of more than 64 MiB: %v", err)
	}
	bad := Config{Chain: "dogecoin", BatchEntries: -1, Rate: math.NaN()}
	err := bad.Validate()
	if err == nil {
		t.Fatal("everything wrong is accepted")
	}
	for _, name := range []string{
		"CHAIN", "FEED_INTERVAL", "FEED_LIMIT", "FEED_BATCH_ENTRIES", "FEED_BATCH_BYTES", "FEED_RATE",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}
