package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/store"
)

func makeFolder(fsys vfs.FS, dir string) error {
	info, err := fsys.Stat(dir)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%q is a file, a folder is needed", dir)
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for folder %q: %w", dir, err)
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder %q: %w", dir, err)
	}
	return nil
}

// folderLock is the hold of this process on a folder: a lock of the operating
// system, which ends with the process however that ends, and beside it a file
// that tells a person who has it.
type folderLock struct {
	fs    vfs.FS
	lock  *pebbledb.Lock
	owner string
}

const ownerFile = "owner"

func lockFolder(fsys vfs.FS, dir string, now time.Time) (*folderLock, error) {
	l := &folderLock{fs: fsys, owner: fsys.PathJoin(dir, ownerFile)}
	lock, err := pebbledb.LockDirectory(dir, fsys)
	if err != nil {
		return nil, l.refused(dir, err)
	}
	l.lock = lock
	text := fmt.Sprintf("pid %d since %s\n", os.Getpid(), now.UTC().Format(time.RFC3339))
	if err := writeFile(fsys, l.owner, text); err != nil {
		return nil, errors.Join(fmt.Errorf("write %q: %w", l.owner, err), lock.Close())
	}
	return l, nil
}

// refused tells a folder that is in use from one that cannot be written to.
func (l *folderLock) refused(dir string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("lock folder %q, which must be writable: %w", dir, err)
	}
	return fmt.Errorf("folder %q is held by %s: %w", dir, l.holder(), store.ErrLocked)
}

func (l *folderLock) holder() string {
	const most = 128
	f, err := l.fs.Open(l.owner)
	if err != nil {
		return "an unknown process"
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most))
	if who := strings.TrimSpace(string(text)); err == nil && who != "" {
		return who
	}
	return "an unknown process"
}

// release removes the file first: the lock's end must not leave a name that is
// no longer true.
func (l *folderLock) release() error {
	return errors.Join(l.fs.Remove(l.owner), l.lock.Close())
}

func writeFile(fsys vfs.FS, name, text string) error {
	f, err := fsys.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, f.Close())
}
