//go:build unix

package node

import "syscall"

// attributes keep an interrupt at the terminal from the child: its parent ends
// it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
