package devserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// identity is the user as whom a server runs: this process's own, or one without root's powers where this process is
// root's, since PostgreSQL refuses to run as root.
type identity struct {
	description string
	uid, gid    int // owners of the server's files, as this process sees them
	attributes  syscall.SysProcAttr
}

// unprivileged gives an identity that can run the program in the folder, and gives it the folder with all in it.
func unprivileged(ctx context.Context, program string, h home) (identity, error) {
	if os.Geteuid() != 0 {
		return identity{description: "this user", uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	candidates := rootIdentities(accounts("postgres", "nobody"))
	if len(candidates) == 0 {
		return identity{}, errors.New("this is root, and there is no user postgres or nobody to run the server as")
	}
	reasons := make([]string, 0, len(candidates))
	for _, id := range candidates {
		if err := id.try(ctx, program, h); err != nil {
			reasons = append(reasons, fmt.Sprintf("as %s: %v", id.description, err))
			continue
		}
		return id, id.own(string(h))
	}
	if err := os.Lchown(string(h), os.Geteuid(), os.Getegid()); err != nil {
		reasons = append(reasons, err.Error())
	}
	return identity{}, fmt.Errorf("this is root, as whom the server refuses to run, and no other user can run it in %s "+
		"(%s): choose another data directory (--data-dir), such as one below /var/lib", h, strings.Join(reasons, "; "))
}

// try tells whether the identity can enter the folder, and run the program there.
func (id identity) try(ctx context.Context, program string, h home) error {
	if err := os.Lchown(string(h), id.uid, id.gid); err != nil {
		return fmt.Errorf("hand over folder: %w", err)
	}
	output, err := id.command(ctx, "/bin/sh", "-c", `cd "$1" && exec "$2" --version`, "sh", string(h), program).CombinedOutput()
	switch failed := new(exec.ExitError); {
	case errors.As(err, &failed):
		return fmt.Errorf("%w: %s", err, lastLines(string(output)))
	default:
		return err
	}
}

// own makes a folder with all in it the identity's. It is quick where it is so already.
func (id identity) own(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("hand over folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || ownerOf(info) == id.uid {
			return err
		}
		return root.Lchown(path, id.uid, id.gid)
	})
	if err != nil {
		return fmt.Errorf("hand over folder: %w", err)
	}
	return nil
}

// command prepares a program that runs as the identity, without the terminal's signals: who started it decides when
// it ends. Settings of PostgreSQL in the environment do not reach it.
func (id identity) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/" // PostgreSQL's programs want to come back to where they were started
	attributes := id.attributes
	attributes.Setpgid = true
	cmd.SysProcAttr = &attributes
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, "LC_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	return cmd
}

// account is a user of this machine who is not root.
type account struct {
	name     string
	uid, gid uint32
}

// accounts gives those of the named users who exist.
func accounts(names ...string) []account {
	var found []account
	for _, name := range names {
		known, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(known.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(known.Gid, 10, 32)
		if errUID == nil && errGID == nil && uid != 0 {
			found = append(found, account{name: name, uid: uint32(uid), gid: uint32(gid)})
		}
	}
	return found
}

// identity gives the account as it is.
func (a account) identity() identity {
	return identity{
		description: "user " + a.name, uid: int(a.uid), gid: int(a.gid),
		attributes: syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}},
	}
}

func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
