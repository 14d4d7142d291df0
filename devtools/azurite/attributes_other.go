//go:build !unix

package azurite

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
