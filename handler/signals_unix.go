//go:build unix

package main

import (
	"os"
	"syscall"
)

// harmless are signals that tell of a failed write, which its caller is told of
// too: whoever reads the log has gone, a file may not grow.
var harmless = []os.Signal{syscall.SIGPIPE, syscall.SIGXFSZ}
