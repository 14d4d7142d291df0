package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// smallDisk mounts a disk of its own; the test is skipped where that is not
// allowed.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("SKIPPED: a small disk could not be mounted (it takes root): ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill takes all that is left of a disk.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	piece := make([]byte, 1<<20)
	for len(piece) > 0 {
		if _, err := f.Write(piece); errors.Is(err, syscall.ENOSPC) {
			piece = piece[:len(piece)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that a neighbour fills within a moment, while readings come: requests
// fail with 503, the process lives, and goes on when there is room again, with
// all that it answered.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "200m")
	p := serving(t, "SLUICE_DATA="+filepath.Join(disk, "data"), "SLUICE_MEMORY=256MiB", "SLUICE_MERGE=1s")
	acked, refused := 0, 0
	send := func(n int) {
		body := fmt.Sprintf(`{"deviceId":"p","ts":%d,"metrics":{"v":%d,"text":%q}}`, 1700000000+n, n, strings.Repeat(fmt.Sprint(n), 500))
		switch a := do(t, "POST", p.url+"/api/v1/telemetry", body); a.status {
		case 200:
			acked++
		case 503:
			if refused++; a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		default:
			t.Error(a)
		}
	}
	n := 0
	for range 5 {
		for end := n + 20; n < end; n++ {
			send(n)
		}
		neighbour := filepath.Join(disk, "neighbour")
		fill(t, neighbour)
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); n++ {
			send(n)
		}
		unready(t, p.url, "disk")
		if err := os.Remove(neighbour); err != nil {
			t.Fatal(err)
		}
		ready(t, p.url)
		if got := count(t, p.url, "p"); got < acked || got > n {
			t.Fatalf("%d readings of %d answered and %d sent", got, acked, n)
		}
	}
	if refused == 0 || acked < 100 {
		t.Errorf("%d answered, %d refused: nothing was tried", acked, refused)
	}
	t.Logf("%d answered, %d refused, opened again %d times", acked, refused, strings.Count(p.log.String(), "is opened again"))
	p.stop()
}

// A disk that takes no write at all: files may not grow over a few bytes more
// than they have.
func TestFilesThatMayNotGrow(t *testing.T) {
	t.Parallel()
	p := serving(t)
	do(t, "POST", p.url+"/api/v1/telemetry", someReading("p", 1)).want(t, 200)
	limit := func(bytes uint64) {
		t.Helper()
		if err := prlimit(p.Process.Pid, bytes); err != nil {
			t.Skip("SKIPPED: ", err)
		}
	}
	limit(1)
	for n := range 20 {
		a := do(t, "POST", p.url+"/api/v1/telemetry", someReading("p", 2+n))
		if a.want(t, 503, `"code":"unavailable"`); a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	unready(t, p.url, "disk")
	limit(1 << 40)
	ready(t, p.url)
	do(t, "POST", p.url+"/api/v1/telemetry", someReading("p", 2)).want(t, 200)
	if got := count(t, p.url, "p"); got < 2 || got > 21 {
		t.Error(got, "readings")
	}
	if !strings.Contains(p.log.String(), "is opened again") {
		t.Error("the store did not break")
	}
	p.stop()
}

// prlimit sets the largest size of a file that another process may write.
func prlimit(pid int, bytes uint64) error {
	limit := [2]uint64{bytes, 1 << 40}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), 1 /* RLIMIT_FSIZE */, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
