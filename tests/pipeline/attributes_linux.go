package pipeline

import "syscall"

// attributes gives a process its death with the test's.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
