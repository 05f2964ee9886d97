package devserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const redisSocket = "redis.sock"

// StartRedis starts a Redis server in a folder, which it makes on first use. Every write goes to an append-only file,
// which is synced each second; nothing is evicted when memory is short. ctx bounds the start, not the server's life. It
// fails with [ErrNotInstalled], or with [ErrInUse]; other errors carry the last lines of the server's log.
func StartRedis(ctx context.Context, dir string, opts ...Option) (*Server, error) {
	return start(ctx, dir, syscall.SIGTERM, startRedis, opts)
}

func startRedis(ctx context.Context, h home, owner, lock *os.File, o options) (*Server, error) {
	found, err := findRedis(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.data(), 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	self := identity{uid: os.Geteuid(), gid: os.Getegid()}
	sockets, err := h.sockets(redisSocket, self)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(sockets, redisSocket)
	config := filepath.Join(string(h), "redis.conf")
	if err := os.WriteFile(config, redisConfig(h.data(), socket, o), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	s := &Server{name: "Redis", home: h, sockets: sockets, stop: syscall.SIGTERM, owner: owner}
	s.url = (&url.URL{Scheme: "unix", Path: socket}).String()

	cmd := self.command(context.WithoutCancel(ctx), found.program, config)
	endWithParent(cmd, syscall.SIGTERM)
	if err := launch(ctx, s, cmd, lock, func(int) bool { return redisReady(ctx, socket) }); err != nil {
		return nil, err
	}
	return s, nil
}

func redisConfig(data, socket string, o options) []byte {
	quote := func(text string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
	}
	appendfsync := "everysec"
	if o.volatile {
		appendfsync = "no"
	}
	lines := []string{
		"port 0",
		"unixsocket " + quote(socket),
		"unixsocketperm 700",
		"dir " + quote(data),
		"daemonize no",
		"appendonly yes",
		"appendfsync " + appendfsync,
		`save ""`,
		"maxmemory-policy noeviction",
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// redisReady tells whether a server answers, which it refuses to do properly while it loads its data.
func redisReady(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return false
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return false
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && answer == "+PONG\r\n"
}
