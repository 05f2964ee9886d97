package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// Names below the data directory.
const (
	logFolder = "logs"
	lockFile  = "up.lock"
)

// maxLog is the size in bytes from which a log is put away when it is next opened.
const maxLog = 16 << 20

// dataDirectory is where the local system lives, as an absolute path.
type dataDirectory struct {
	path string
	lock *flock.Flock
}

// openDataDirectory makes the directory where need be, for this user only, and takes it for this process.
func (a *app) openDataDirectory() (*dataDirectory, error) {
	const chooseAnother = "choose another with --data-dir"
	absolute, err := filepath.Abs(a.dataDir)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(absolute, logFolder), 0o700); err != nil {
		return nil, advise(fmt.Errorf("make data directory: %w", err), chooseAnother)
	}
	lock := flock.New(filepath.Join(absolute, lockFile), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, advise(fmt.Errorf("lock data directory: %w", err), chooseAnother)
	}
	if !locked {
		other := "another process"
		if pid, err := os.ReadFile(lock.Path()); err == nil && len(pid) > 0 {
			other = "process " + printable(strings.TrimSpace(string(pid)))
		}
		return nil, advise(fmt.Errorf("%s is in use: chainmetrics up runs there already, as %s", a.dataDir, other),
			"use what runs there, stop that process, or %s\nsee what it does with: %s", chooseAnother, a.command("status"))
	}
	d := &dataDirectory{path: absolute, lock: lock}
	if err := os.WriteFile(lock.Path(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		d.close()
		return nil, advise(fmt.Errorf("lock data directory: %w", err), chooseAnother)
	}
	return d, nil
}

// close gives the directory free for other processes. The lock file stays: whoever removes it could remove another's.
func (d *dataDirectory) close() {
	_ = os.Truncate(d.lock.Path(), 0) // the process id in it is only a hint
	_ = d.lock.Close()                // the lock ends with this process at the latest
}

func (d *dataDirectory) join(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

// log gives the path of a child's log, and puts an old one away where it has grown large.
func (d *dataDirectory) log(name string) (string, error) {
	path := d.join(logFolder, name+".log")
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return "", fmt.Errorf("put away old log: %w", err)
		}
	}
	return path, nil
}
