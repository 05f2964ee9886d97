package devserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	urlFile     = "url"
	stopTimeout = 30 * time.Second
	// maxSocketPath is below the limits of the systems: 107 bytes on Linux, 103 on macOS.
	maxSocketPath = 100
	maxLog        = 8 << 20
)

// home is the folder of one server.
type home string

func (h home) data() string { return filepath.Join(string(h), "data") }
func (h home) log() string  { return filepath.Join(string(h), "server.log") }
func (h home) url() string  { return filepath.Join(string(h), urlFile) }

// openHome makes the folder if need be, and gives its absolute path without symbolic links.
func openHome(dir string) (home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make server folder: %w", err)
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("make server folder: %w", err)
	}
	if absolute, err = filepath.EvalSymlinks(absolute); err != nil {
		return "", fmt.Errorf("make server folder: %w", err)
	}
	h := home(absolute)
	if info, err := os.Stat(h.log()); err == nil && info.Size() > maxLog {
		if err := os.Rename(h.log(), h.log()+".old"); err != nil {
			return "", fmt.Errorf("put away old log: %w", err)
		}
	}
	return h, nil
}

// lock takes the folder for this process, which fails with [ErrInUse] while another one has it, then ends the server
// that a killed process may have left behind. The owner's lock ends with this process; the server's lock is the one to
// hand on to the server.
func (h home) lock(ctx context.Context, stop syscall.Signal) (owner, server *os.File, err error) {
	owner, err = openLock(filepath.Join(string(h), "owner.lock"))
	if err != nil {
		return nil, nil, err
	}
	if err := tryLock(owner); err != nil {
		defer unlock(owner)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil, fmt.Errorf("%s: %w (%d)", h, ErrInUse, readPID(owner))
		}
		return nil, nil, err
	}
	if err := writePID(owner, os.Getpid()); err != nil {
		unlock(owner)
		return nil, nil, err
	}
	server, err = openLock(filepath.Join(string(h), "server.lock"))
	if err != nil {
		unlock(owner)
		return nil, nil, err
	}
	if err := h.endLeftover(ctx, server, stop); err != nil {
		unlock(owner)
		closeFile(server)
		return nil, nil, err
	}
	return owner, server, nil
}

// endLeftover waits until the server's lock is free, and asks the process that holds it to end.
func (h home) endLeftover(ctx context.Context, lock *os.File, stop syscall.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	asked := 0
	for {
		err := tryLock(lock)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if pid := readPID(lock); pid > 0 && pid != asked && worksIn(pid, h.data()) {
			asked = pid
			if err := syscall.Kill(pid, stop); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop process %d, left behind in %s: %w", pid, h, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d, left behind in %s, does not end: %w", readPID(lock), h, ctx.Err())
		case <-tick.C:
		}
	}
}

// sockets gives an empty folder for a socket of the given name, which only its owner can enter: in the home, or where
// that path is too long for a socket, in the folder for temporary files under a name made from the home's path. There
// anybody may have made it before: its owner must be this user, or the server's, to whom it was handed over.
func (h home) sockets(name string, server identity) (string, error) {
	folder := filepath.Join(string(h), "run")
	owners := []int{os.Geteuid(), server.uid}
	if len(filepath.Join(folder, name)) > maxSocketPath {
		sum := sha256.Sum256([]byte(h))
		base := fmt.Sprintf("chainmetrics-%d-%s", os.Geteuid(), hex.EncodeToString(sum[:6]))
		folder = filepath.Join(os.TempDir(), base)
		if len(filepath.Join(folder, name)) > maxSocketPath {
			folder = filepath.Join("/tmp", base)
		}
	} else if info, err := os.Stat(string(h)); err == nil {
		owners = append(owners, ownerOf(info))
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make socket folder: %w", err)
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return "", fmt.Errorf("make socket folder: %w", err)
	}
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !slices.Contains(owners, ownerOf(info)) {
		return "", fmt.Errorf("make socket folder: %s exists, but is not a private folder of this user: remove it", folder)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", fmt.Errorf("clear socket folder: %w", err)
	}
	for _, entry := range entries {
		if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
			return "", fmt.Errorf("clear socket folder: %w", err)
		}
	}
	return folder, nil
}

func openLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	return file, nil
}

func tryLock(file *os.File) error {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return nil
}

// unlock gives a lock up for every holder of its file. Closing the file is not enough: a process that is just being forked
// holds it too, until it executes its program.
func unlock(file *os.File) {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_UN); err != nil {
		slog.Debug("unlock", "file", file.Name(), "error", err)
	}
	closeFile(file)
}

func writePID(file *os.File, pid int) error {
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("write %s: %w", file.Name(), err)
	}
	if _, err := file.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0); err != nil {
		return fmt.Errorf("write %s: %w", file.Name(), err)
	}
	return nil
}

// readPID gives the process id in a lock file, or 0 where there is none.
func readPID(file *os.File) int {
	text := make([]byte, 20)
	n, _ := file.ReadAt(text, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return 0
	}
	return pid
}
