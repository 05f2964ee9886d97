// Package devserver runs private PostgreSQL or Redis servers from the installed binaries.
package devserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	// ErrNotInstalled says that no suitable server binary was found on this machine.
	ErrNotInstalled = errors.New("not installed: run make deps")
	// ErrInUse says that another living process runs a server in the same folder.
	ErrInUse = errors.New("in use by another process")
)

// Option changes how a server is started.
type Option func(*options)

type options struct {
	volatile bool
	cache    string
}

// Volatile makes a server that does not wait for the disk. What it has committed survives the end of its process, but
// not a crash of the machine: for tests.
func Volatile() Option {
	return func(o *options) { o.volatile = true }
}

// Cache names a folder in which a newly made, empty database cluster is kept, so that later servers copy it instead of
// making their own. It concerns PostgreSQL only.
func Cache(folder string) Option {
	return func(o *options) { o.cache = folder }
}

// Server is a running server. Its methods may be called concurrently.
//
// A server lives in a folder of its own: data/ is what it keeps, server.log what it says, url how to reach it. It
// listens on a Unix socket that only its user can open, never on the network. It ends with the process that started
// it; where that process was killed, at once on Linux, elsewhere at the next start in the same folder.
type Server struct {
	name     string
	url      string
	home     home
	sockets  string         // the folder of its socket
	stop     syscall.Signal // asks for an orderly end that disconnects clients
	process  *os.Process
	owner    *os.File
	logStart int64
	stopping atomic.Bool
	done     chan struct{}
	err      error // of the end; to be read after done
}

// URL says how to connect: postgres://… for pgx or psql, unix://… for go-redis.
func (s *Server) URL() string { return s.url }

// Log gives the path of the file to which the server logs.
func (s *Server) Log() string { return s.home.log() }

// Done is closed when the server's process has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err tells why the server ended by itself, with the last lines of its log. It is nil while the server runs, or where
// Stop ended it.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Signal sends a signal to the server's process: tests freeze or kill it.
func (s *Server) Signal(signal os.Signal) error {
	if err := s.process.Signal(signal); err != nil {
		return fmt.Errorf("signal %s: %w", s.name, err)
	}
	return nil
}

// Stop disconnects the clients, lets the server write what it holds, then waits for its end. When ctx ends first the
// server is killed, which loses nothing that it has committed, and an error is returned. Stop may be called again.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	if err := s.process.Signal(s.stop); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	if err := s.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", s.name, err)
	}
	<-s.done
	return fmt.Errorf("stop %s: killed: %w", s.name, ctx.Err())
}

// URL gives the address of the server that was last started in a folder.
func URL(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, urlFile))
	if err != nil {
		return "", fmt.Errorf("find the server of %s: %w", dir, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// start takes a folder for a server and starts it there. Another server of that folder, which a killed process has left,
// is ended first by a signal.
func start(
	ctx context.Context, dir string, stop syscall.Signal,
	in func(ctx context.Context, h home, owner, lock *os.File, o options) (*Server, error), opts []Option,
) (*Server, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	h, err := openHome(dir)
	if err != nil {
		return nil, err
	}
	owner, lock, err := h.lock(ctx, stop)
	if err != nil {
		return nil, err
	}
	defer closeFile(lock)
	s, err := in(ctx, h, owner, lock, o)
	if err != nil {
		unlock(owner)
		return nil, err
	}
	return s, nil
}

// launch starts a server's process and waits until ready says so. The server owns the home's lock from then on.
func launch(ctx context.Context, s *Server, cmd *exec.Cmd, lock *os.File, ready func(pid int) bool) error {
	log, err := os.OpenFile(s.home.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", s.name, err)
	}
	defer closeFile(log)
	if s.logStart, err = log.Seek(0, 2); err != nil {
		return fmt.Errorf("open log of %s: %w", s.name, err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	// The server and its children hold the lock for as long as any of them lives, also without this process.
	cmd.ExtraFiles = []*os.File{lock}
	s.done = make(chan struct{})
	started := make(chan error)
	go func() {
		// A child is told of its parent's death when the thread that forked it ends: this thread waits for the child.
		runtime.LockOSThread()
		err := cmd.Start()
		s.process = cmd.Process
		started <- err
		if err == nil {
			s.finish(cmd.Wait())
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	if err := writePID(lock, s.process.Pid); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", s.name, err), s.Stop(ctx))
	}
	return s.await(ctx, ready)
}

func (s *Server) await(ctx context.Context, ready func(pid int) bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready(s.process.Pid) {
		select {
		case <-s.done:
			return fmt.Errorf("start %s: %w", s.name, s.err)
		case <-ctx.Done():
			err := fmt.Errorf("start %s: %w\n%s", s.name, ctx.Err(), tail(s.home.log(), s.logStart))
			return errors.Join(err, s.abandon(ctx))
		case <-tick.C:
		}
	}
	if err := os.WriteFile(s.home.url(), []byte(s.url+"\n"), 0o600); err != nil {
		return errors.Join(fmt.Errorf("record the address of %s: %w", s.name, err), s.abandon(ctx))
	}
	return nil
}

// abandon stops a server whose start did not succeed.
func (s *Server) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return s.Stop(ctx)
}

func (s *Server) finish(err error) {
	if !s.stopping.Load() {
		end := "exit status 0"
		if err != nil {
			end = err.Error()
		}
		s.err = fmt.Errorf("%s ended by itself: %s\n%s", s.name, end, tail(s.home.log(), s.logStart))
	}
	if filepath.Dir(s.sockets) != string(s.home) {
		if err := os.RemoveAll(s.sockets); err != nil {
			slog.Debug("remove socket folder", "folder", s.sockets, "error", err)
		}
	}
	unlock(s.owner)
	close(s.done)
}

// tail gives the last lines that a server has logged since an offset.
func tail(file string, since int64) string {
	const size = 8 << 10
	log, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer closeFile(log)
	info, err := log.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(since, info.Size()-size)
	text := make([]byte, max(0, info.Size()-from))
	n, err := log.ReadAt(text, from)
	if n == 0 && err != nil {
		return file + " is empty"
	}
	return lastLines(string(text[:n]))
}

func lastLines(text string) string {
	const most = 15
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// closeFile closes a file whose content no longer matters to this process.
func closeFile(file *os.File) {
	if err := file.Close(); err != nil {
		slog.Debug("close file", "file", file.Name(), "error", err)
	}
}
