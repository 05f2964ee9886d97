package supervisor

import "syscall"

// attributes gives a child its own process group, and its death with its parent's.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
