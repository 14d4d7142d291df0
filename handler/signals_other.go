//go:build !unix

package main

import (
	"os"
	"syscall"
)

var harmless = []os.Signal{syscall.SIGPIPE}
