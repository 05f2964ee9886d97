package devserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// The oldest servers that the project supports.
const (
	minPostgres = 15
	minRedis    = 7
)

// installation is one installed version of a server.
type installation struct {
	folder  string // of its binaries
	program string // path of the server's binary
	version string // as it tells it, such as 15.18
	major   int
}

// postgresFolders are where packages of PostgreSQL put their binaries besides PATH: Debian, Red Hat, Homebrew,
// Postgres.app, Arch.
var postgresFolders = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin",
}

// redisFolders are where packages of Redis or Valkey put their binaries besides PATH.
var redisFolders = []string{
	"/usr/bin", "/usr/sbin", "/usr/local/bin",
	"/opt/homebrew/opt/redis*/bin", "/opt/homebrew/opt/valkey*/bin",
	"/usr/local/opt/redis*/bin", "/usr/local/opt/valkey*/bin",
}

// versionPattern finds the version in what postgres, redis-server, valkey-server print: "postgres (PostgreSQL) 15.18
// (Debian …)", "Redis server v=7.0.15 sha=…".
var versionPattern = regexp.MustCompile(`(?:PostgreSQL\) |v=)(([0-9]+)[0-9A-Za-z.]*)`)

// findPostgres gives the newest installation, or the newest of one major version where major is not 0.
func findPostgres(ctx context.Context, major int) (installation, error) {
	best := installation{}
	for _, found := range installations(ctx, []string{"postgres"}, postgresFolders) {
		if _, err := os.Stat(filepath.Join(found.folder, "initdb")); err != nil {
			continue
		}
		if found.major >= minPostgres && found.major > best.major && (major == 0 || found.major == major) {
			best = found
		}
	}
	switch {
	case best.major != 0:
		return best, nil
	case major != 0:
		return best, fmt.Errorf("find PostgreSQL %d, which wrote the data: %w", major, ErrNotInstalled)
	default:
		return best, fmt.Errorf("find PostgreSQL %d or newer: %w", minPostgres, ErrNotInstalled)
	}
}

// findRedis gives the first installation that is new enough. Valkey counts: it speaks the same protocol.
func findRedis(ctx context.Context) (installation, error) {
	for _, found := range installations(ctx, []string{"redis-server", "valkey-server"}, redisFolders) {
		if found.major >= minRedis {
			return found, nil
		}
	}
	return installation{}, fmt.Errorf("find Redis %d or newer: %w", minRedis, ErrNotInstalled)
}

// installations gives what is installed under one of the names, in PATH or else in the folders.
func installations(ctx context.Context, names, folders []string) []installation {
	var paths []string
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, path)
		}
		for _, pattern := range folders {
			matches, err := filepath.Glob(filepath.Join(pattern, name))
			if err != nil {
				panic(err) // the patterns are constants
			}
			paths = append(paths, matches...)
		}
	}
	seen := map[string]bool{}
	var found []installation
	for _, path := range paths {
		// PostgreSQL's other programs lie beside the binary that a link in PATH leads to. Redis looks at the name by which
		// it is called, so what is run is the link.
		binary, err := filepath.EvalSymlinks(path)
		if err != nil || seen[binary] {
			continue
		}
		seen[binary] = true
		output, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			continue
		}
		match := versionPattern.FindSubmatch(output)
		if match == nil {
			continue
		}
		major, err := strconv.Atoi(string(match[2]))
		if err != nil {
			continue
		}
		found = append(found, installation{
			folder: filepath.Dir(binary), program: path, version: string(match[1]), major: major,
		})
	}
	return found
}
