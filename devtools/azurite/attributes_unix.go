//go:build unix

package azurite

import "syscall"

// attributes keep an interrupt at the terminal from the child: its parent ends
// it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
