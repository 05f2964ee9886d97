package main

import (
	"testing"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

func TestFedStreamIsTheFeeds(t *testing.T) {
	t.Parallel()
	for want, environment := range map[string][]string{
		"blockchain_events:bitcoin":  nil,
		"blockchain_events:litecoin": {"CHAIN=litecoin"},
		"mine":                       {"CHAIN=bitcoin", "STREAM=mine"},
	} {
		if got := fedStream(wiring.Process{Environ: environment}); got != want {
			t.Errorf("the stream of a feed with %q is %s, want %s", environment, got, want)
		}
	}
}
