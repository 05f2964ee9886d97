package main

import (
	"slices"
	"testing"
)

func TestPortsAreNoClients(t *testing.T) {
	t.Parallel()
	ports, err := freePorts(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if len(slices.Compact(slices.Clone(ports))) != 100 || ports[0] < 1024 || ports[99] >= 32768 {
		t.Errorf("ports are %v, want 100 between 1024 and 32767", ports)
	}
}
