package devserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// database is the name of the database that a new cluster has for the project, and of its superuser.
	database       = "chainmetrics"
	postgresPort   = "5432" // only a part of the socket's name
	postgresSocket = ".s.PGSQL." + postgresPort
)

// StartPostgres starts a PostgreSQL server in a folder, which it makes, with an empty database, on first use. The
// newest installed version is taken for a new folder, and for an old one the version that wrote it. The URL names the
// database chainmetrics; its user is a superuser. ctx bounds the start, not the server's life. It fails with
// [ErrNotInstalled], or with [ErrInUse]; other errors carry the last lines of the server's log.
func StartPostgres(ctx context.Context, dir string, opts ...Option) (*Server, error) {
	// SIGINT is PostgreSQL's fast shutdown: clients are disconnected, their transactions rolled back.
	return start(ctx, dir, syscall.SIGINT, startPostgres, opts)
}

func startPostgres(ctx context.Context, h home, owner, lock *os.File, o options) (*Server, error) {
	major, err := clusterVersion(h)
	if err != nil {
		return nil, err
	}
	found, err := findPostgres(ctx, major)
	if err != nil {
		return nil, err
	}
	id, err := unprivileged(ctx, found.program, h)
	if err != nil {
		return nil, err
	}
	if major == 0 {
		if err := makeCluster(ctx, h, found, id, o); err != nil {
			return nil, err
		}
	}
	if err := checkLeftover(h); err != nil {
		return nil, err
	}
	sockets, err := h.sockets(postgresSocket, id)
	if err != nil {
		return nil, err
	}
	if err := os.Lchown(sockets, id.uid, id.gid); err != nil {
		return nil, fmt.Errorf("hand over socket folder: %w", err)
	}
	s := &Server{name: "PostgreSQL", home: h, sockets: sockets, stop: syscall.SIGINT, owner: owner}
	query := url.Values{"host": {sockets}, "port": {postgresPort}}
	s.url = (&url.URL{
		Scheme: "postgres", User: url.User(database), Path: "/" + database,
		RawQuery: strings.NewReplacer("+", "%20", "%2F", "/").Replace(query.Encode()),
	}).String()

	settings := []string{
		"listen_addresses=",
		"port=" + postgresPort,
		`unix_socket_directories="` + strings.ReplaceAll(sockets, `"`, `""`) + `"`,
		"unix_socket_permissions=0700",
		"timezone=UTC",
		"log_timezone=UTC",
		"logging_collector=off",
		"log_destination=stderr",
		"jit=off",
	}
	if o.volatile {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	args := []string{"-D", h.data()}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd := id.command(context.WithoutCancel(ctx), found.program, args...)
	endWithParent(cmd, syscall.SIGINT)
	status := filepath.Join(h.data(), "postmaster.pid")
	if err := launch(ctx, s, cmd, lock, func(pid int) bool { return postmasterReady(status, pid) }); err != nil {
		return nil, err
	}
	return s, nil
}

// clusterVersion gives the major version that wrote the data, or 0 where there is none yet.
func clusterVersion(h home) (int, error) {
	text, err := os.ReadFile(filepath.Join(h.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read version of the data: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read version of the data in %s: %w", h.data(), err)
	}
	return major, nil
}

// makeCluster makes the data folder with an empty database in it: whole, or not at all.
func makeCluster(ctx context.Context, h home, found installation, id identity, o options) error {
	draft := h.data() + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return fmt.Errorf("remove unfinished data: %w", err)
	}
	cached := ""
	if o.cache != "" {
		cached = filepath.Join(o.cache, cacheName(found, o))
	}
	if _, err := os.Stat(cached); cached == "" || err != nil {
		if err := initialise(ctx, draft, found, id, o); err != nil {
			return err
		}
		if cached != "" {
			if err := keep(draft, cached); err != nil {
				return err
			}
		}
	} else if err := copyFolder(cached, draft); err != nil {
		return fmt.Errorf("copy empty data: %w", err)
	}
	if err := id.own(draft); err != nil {
		return err
	}
	if err := os.Rename(draft, h.data()); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	return nil
}

// initArguments are those of initdb, but for the folder.
func initArguments(o options) []string {
	args := []string{
		"-U", database, "--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject", "--no-instructions",
	}
	if o.volatile {
		args = append(args, "--no-sync")
	}
	return args
}

// cacheName names an empty cluster by what it depends on: the server's version, and how initdb was run.
func cacheName(found installation, o options) string {
	sum := sha256.Sum256([]byte(strings.Join(initArguments(o), "\x00")))
	return "postgres-" + found.version + "-" + hex.EncodeToString(sum[:6])
}

// initialise runs initdb, then makes the project's database. Only who can enter the socket folder reaches the server,
// so no password is asked for.
func initialise(ctx context.Context, draft string, found installation, id identity, o options) error {
	initdb := id.command(ctx, filepath.Join(found.folder, "initdb"), append(initArguments(o), "-D", draft)...)
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, lastLines(string(output)))
	}
	// A server in single-user mode takes statements from its standard input, one to a line.
	single := id.command(ctx, found.program, "--single", "-j", "-D", draft, "postgres")
	single.Stdin = strings.NewReader("create database " + database + ";\n\n")
	if output, err := single.CombinedOutput(); err != nil {
		return fmt.Errorf("create database %s: %w\n%s", database, err, lastLines(string(output)))
	}
	return nil
}

// keep puts a copy of a folder into the cache. Where another process does so at the same time, the first one's stays.
func keep(folder, cached string) error {
	if err := os.MkdirAll(filepath.Dir(cached), 0o700); err != nil {
		return fmt.Errorf("keep empty data: %w", err)
	}
	draft, err := os.MkdirTemp(filepath.Dir(cached), "new-")
	if err != nil {
		return fmt.Errorf("keep empty data: %w", err)
	}
	if err := copyFolder(folder, draft); err != nil {
		return errors.Join(fmt.Errorf("keep empty data: %w", err), os.RemoveAll(draft))
	}
	if err := os.Rename(draft, cached); err != nil {
		if err := os.RemoveAll(draft); err != nil {
			return fmt.Errorf("keep empty data: %w", err)
		}
		if _, err := os.Stat(cached); err != nil {
			return fmt.Errorf("keep empty data: %w", err)
		}
	}
	return nil
}

// copyFolder copies a database cluster that no server uses.
func copyFolder(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return os.Chmod(to, 0o700) //nolint:gosec // PostgreSQL insists on exactly this
}

// checkLeftover removes the note of a server that was killed. PostgreSQL does that too, except where another process
// has got the same number since. A server that was started here by other means is not touched.
func checkLeftover(h home) error {
	file := filepath.Join(h.data(), "postmaster.pid")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a running server: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || !worksIn(pid, h.data()) {
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove the note of a killed server: %w", err)
		}
	}
	return nil
}

// postmasterReady tells whether a server accepts connections: its eighth line is the status, as pg_ctl reads it.
func postmasterReady(file string, pid int) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return len(lines) >= 8 && lines[0] == strconv.Itoa(pid) && strings.TrimSpace(lines[7]) == "ready"
}
