package pipeline

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Ports below those that systems give to outgoing connections, in ranges for the test processes that run at once.
const (
	firstPort  = 20_000
	portRanges = 50
	portsEach  = 200
)

// ports counts those that this process has given out.
var ports atomic.Int64

// portRange gives this process a range that no other one has, until it ends.
var portRange = sync.OnceValues(func() (first int64, err error) {
	for n := range int64(portRanges) {
		name := filepath.Join(os.TempDir(), fmt.Sprintf("chainmetrics-ports-%d.lock", firstPort+n*portsEach))
		lock, errOpen := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if errOpen != nil { // perhaps another user's
			err = errOpen
			continue
		}
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			locks = append(locks, lock)
			return firstPort + n*portsEach, nil
		}
		_ = lock.Close() // another process has it
	}
	return 0, fmt.Errorf("reserve a range of ports: none of %d is free: %w", portRanges, err)
})

// locks stay open, and so locked, as long as this process.
var locks []*os.File

// FreePort gives a TCP port at which nothing listens, another one each time and none that another test process gives. It
// stays free while its program does not run.
func FreePort(t testing.TB) string {
	t.Helper()
	first, err := portRange()
	if err != nil {
		t.Fatal(err)
	}
	for range portsEach {
		port := strconv.FormatInt(first+ports.Add(1)%portsEach, 10)
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ":"+port)
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatalf("no free port among %d", portsEach)
	return ""
}
