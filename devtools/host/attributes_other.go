//go:build !linux

package host

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
