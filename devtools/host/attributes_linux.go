package host

import "syscall"

// attributes keep an interrupt at the terminal from the handler, and end it
// when we die without having ended it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
