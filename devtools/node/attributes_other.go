//go:build !unix

package node

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
