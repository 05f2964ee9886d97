//go:build !linux

package devserver

import (
	"os/exec"
	"syscall"
)

// rootIdentities gives whom root may run a server as. Only Linux has more to offer than other users.
func rootIdentities(candidates []account) []identity {
	var ids []identity
	for _, a := range candidates {
		ids = append(ids, a.identity())
	}
	return ids
}

// endWithParent does nothing: only Linux tells a process of its parent's death. What is left behind ends when the next
// server is started in the same folder.
func endWithParent(*exec.Cmd, syscall.Signal) {}

// worksIn is true: this system does not tell.
func worksIn(int, string) bool { return true }
