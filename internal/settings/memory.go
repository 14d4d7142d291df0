package settings

import (
	"io/fs"
	"strconv"
	"strings"
)

// fallback is the ceiling where nothing tells the machine's memory.
const fallback = GiB

// Memory tells how much memory the process may use: the least limit of its
// cgroup (version 2, else 1), else the machine's memory. root is the file system
// from its root on (os.DirFS("/")).
//
// A process sees its own cgroup as the root in a container; outside of one the
// limits of its parents count too, so that the path in /proc/self/cgroup is
// walked upwards.
func Memory(root fs.FS) Size {
	least := machine(root)
	for _, dir := range cgroups(root) {
		for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
			if limit := number(root, dir+"/"+name); limit > 0 && limit < least {
				least = limit
			}
		}
	}
	return least
}

// cgroups lists the folders whose limits hold for the process.
func cgroups(root fs.FS) []string {
	dirs := []string{"sys/fs/cgroup", "sys/fs/cgroup/memory"}
	text, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		// hierarchy:controllers:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		top := dirs[0]
		if strings.Contains(parts[1], "memory") {
			top = dirs[1]
		} else if parts[1] != "" {
			continue
		}
		for path := strings.Trim(parts[2], "/"); path != ""; {
			dirs = append(dirs, top+"/"+path)
			path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		}
	}
	return dirs
}

// number reads a file that holds a limit; 0 if there is none ("max", or no such
// file).
func number(root fs.FS, name string) Size {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return Size(n)
}

func machine(root fs.FS) Size {
	text, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(text)) {
		// MemTotal:       16384000 kB
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n > 0 && n < 1<<43 {
				return Size(n) * KiB
			}
		}
	}
	return fallback
}
