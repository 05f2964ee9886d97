package devserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// capDACOverride is the number of the power to pass by the permissions of files: see capabilities(7).
const capDACOverride = 1

// rootIdentities gives whom root may run a server as, the best first. Root under another number, in a user namespace of
// its own, needs no other user's rights on the disk, but containers often forbid namespaces. The others need a way
// through the folders above; where there is none they get root's power over files, only that.
func rootIdentities(candidates []account) []identity {
	var namespaces, plain, able []identity
	for _, a := range candidates {
		namespaces = append(namespaces, identity{
			description: "root in a user namespace",
			attributes: syscall.SysProcAttr{
				Cloneflags: syscall.CLONE_NEWUSER,
				// initdb wants a number that has a name.
				UidMappings: []syscall.SysProcIDMap{{ContainerID: int(a.uid), HostID: 0, Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: int(a.gid), HostID: 0, Size: 1}},
			},
		})
		plain = append(plain, a.identity())
		id := a.identity()
		id.description += " with power over files"
		id.attributes.AmbientCaps = []uintptr{capDACOverride}
		able = append(able, id)
	}
	return slices.Concat(namespaces[:min(1, len(namespaces))], plain, able)
}

// endWithParent makes the kernel send a signal to the process when the thread that started it ends.
func endWithParent(cmd *exec.Cmd, signal syscall.Signal) {
	cmd.SysProcAttr.Pdeathsig = signal
}

// worksIn tells whether a process has the folder as its working directory, as servers have. A process of which this one
// may not know that is none of this user's.
func worksIn(pid int, folder string) bool {
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	return err == nil && cwd == folder
}
