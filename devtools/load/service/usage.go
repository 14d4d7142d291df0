package service

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Usage is what a process has used so far: processor time in its own code and
// in the kernel for it, memory in bytes now and at most, by /proc.
type Usage struct {
	User, System time.Duration
	RSS, PeakRSS int64
}

// CPU is all processor time.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// tick is the unit of processor time in /proc: USER_HZ is 100 on every Linux.
const tick = 10 * time.Millisecond

// Usage reads what the process has used. It needs Linux.
func (p *Process) Usage() (Usage, error) { return UsageOf(p.PID) }

// UsageOf reads what any process of ours has used. It needs Linux.
func UsageOf(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage: %w", err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage: %w", err)
	}
	// The name, field 2, may have blanks; utime and stime are fields 14 and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return Usage{}, fmt.Errorf("read the usage: /proc/%d/stat has %d fields", pid, len(fields))
	}
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		return time.Duration(n) * tick
	}
	return Usage{User: ticks(11), System: ticks(12), RSS: kilobytes(status, "VmRSS:"), PeakRSS: kilobytes(status, "VmHWM:")}, nil
}

func kilobytes(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseInt(string(f[0]), 10, 64)
				return n << 10
			}
		}
	}
	return 0
}

// ResetPeak makes the peak of memory begin again at what is used now.
func (p *Process) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID), []byte("5"), 0)
}
