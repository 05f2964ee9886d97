// Package supervisor keeps child processes running.
//
// A child has its own process group, so that a signal from the terminal reaches only the parent, which then stops its
// children in order. On Linux the kernel kills a child whose parent has died, however it died; elsewhere a child
// outlives a parent that is killed by SIGKILL.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	firstDelay = time.Second
	longest    = 30 * time.Second
	// quick is how long a run lasts that counts as having died at once.
	quick = 10 * time.Second
	// tailLines is how many of the last lines of a log an Exit carries.
	tailLines = 10
)

// ErrKilled says that a child had to be killed, because it did not stop in time.
var ErrKilled = errors.New("killed, since it did not stop in time")

// Process says what to run.
type Process struct {
	Name string
	Path string   // of the executable
	Env  []string // the whole environment, as in os/exec
	Log  string   // the file that standard output and standard error are appended to; created 0600
	Once bool     // exit status 0 means that the work is done: it is not started again
}

// Exit tells how one run of a child ended.
type Exit struct {
	Name  string
	Err   error         // nil for exit status 0
	Ran   time.Duration // how long it ran
	Quick int           // how many runs in succession, this one included, died within ten seconds
	Delay time.Duration // how long until it is started again; 0: it is not
	Lines []string      // the last lines that the run wrote to its log
}

// Child is a process that is started again when it dies.
type Child struct {
	process Process
	onExit  func(Exit)
	stop    chan struct{} // closed by Stop
	done    chan struct{} // closed when the last run has ended

	mu      sync.Mutex
	stopped bool
	running *os.Process
}

// Start runs a process until [Child.Stop], and calls onExit, one call at a time, each time that a run ends by itself.
func Start(process Process, onExit func(Exit)) *Child {
	c := &Child{process: process, onExit: onExit, stop: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

// Done is closed when the child has ended and is not started again.
func (c *Child) Done() <-chan struct{} { return c.done }

// PID gives the process id of the present run, and 0 between runs.
func (c *Child) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return 0
	}
	return c.running.Pid
}

// Stop sends SIGTERM and waits for the child to end. When the context ends it kills the child, and fails with
// [ErrKilled].
func (c *Child) Stop(ctx context.Context) error {
	c.mu.Lock()
	if !c.stopped {
		c.stopped = true
		close(c.stop)
	}
	c.signal(syscall.SIGTERM)
	c.mu.Unlock()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-c.done: // both were ready
		return nil
	default:
	}
	c.mu.Lock()
	c.signal(syscall.SIGKILL)
	c.mu.Unlock()
	<-c.done
	return fmt.Errorf("stop %s: %w", c.process.Name, ErrKilled)
}

// signal signals the child's process group; the caller holds the lock.
func (c *Child) signal(sig syscall.Signal) {
	if c.running != nil {
		_ = syscall.Kill(-c.running.Pid, sig) // it fails only where the group is gone already
	}
}

// run keeps the child running. It holds its operating system thread as long as there is a child: the kernel takes the
// end of the thread that forked for the parent's death.
func (c *Child) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = firstDelay, longest
	delays.Multiplier, delays.RandomizationFactor = 2, 0.2
	quickRuns := 0
	for {
		started := time.Now()
		offset, err := c.runOnce()
		exit := Exit{Name: c.process.Name, Err: err, Ran: time.Since(started)}
		if c.stopping() {
			return
		}
		if exit.Ran < quick {
			quickRuns++
		} else {
			quickRuns = 0
			delays.Reset()
		}
		exit.Quick = quickRuns
		exit.Lines = tail(c.process.Log, offset, tailLines)
		if err == nil && c.process.Once {
			c.onExit(exit)
			return
		}
		exit.Delay = delays.NextBackOff()
		c.onExit(exit)
		timer := time.NewTimer(exit.Delay)
		select {
		case <-timer.C:
		case <-c.stop:
			timer.Stop()
			return
		}
	}
}

func (c *Child) stopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// runOnce runs the process one time, and gives the length of the log before.
func (c *Child) runOnce() (offset int64, err error) {
	log, err := os.OpenFile(c.process.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if info, err := log.Stat(); err == nil {
		offset = info.Size()
	}
	cmd := exec.Command(c.process.Path) //nolint:noctx // the caller names the program; Stop ends it in good order
	cmd.Env = c.process.Env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()

	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return offset, nil
	}
	if err := cmd.Start(); err != nil {
		c.mu.Unlock()
		return offset, fmt.Errorf("start %s: %w", c.process.Path, err)
	}
	c.running = cmd.Process
	c.mu.Unlock()

	err = cmd.Wait()
	c.mu.Lock()
	c.running = nil
	c.mu.Unlock()
	return offset, err
}
