//go:build !linux

package pipeline

import "syscall"

// attributes is empty: only Linux tells a process of its parent's death.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
