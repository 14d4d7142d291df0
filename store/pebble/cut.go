package pebble

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errCut is what writes of an abandoned store get.
var errCut = errors.New("store was abandoned")

// cutFS is a file system that can be taken away from who has it: after cut
// nothing of that holder's changes a file any more, as if its process had been
// killed, while the folder may belong to the next one.
type cutFS struct {
	vfs.FS
	writing sync.RWMutex // held for reading by every change under way
	gone    bool
}

// cut returns when no change is under way, and none will be.
func (c *cutFS) cut() {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.gone = true
}

// change does what changes files, unless they are taken away.
func (c *cutFS) change(do func() error) error {
	c.writing.RLock()
	defer c.writing.RUnlock()
	if c.gone {
		return errCut
	}
	return do()
}

func (c *cutFS) file(open func() (vfs.File, error)) (f vfs.File, err error) {
	err = c.change(func() error {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &cutFile{File: f, fs: c}, nil
}

func (c *cutFS) Unwrap() vfs.FS { return c.FS }

func (c *cutFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return c.file(func() (vfs.File, error) { return c.FS.Create(name, category) })
}

func (c *cutFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return c.file(func() (vfs.File, error) { return c.FS.OpenReadWrite(name, category, opts...) })
}

func (c *cutFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return c.file(func() (vfs.File, error) { return c.FS.ReuseForWrite(oldname, newname, category) })
}

// OpenDir's file is for syncing the folder.
func (c *cutFS) OpenDir(name string) (vfs.File, error) {
	return c.file(func() (vfs.File, error) { return c.FS.OpenDir(name) })
}

func (c *cutFS) Link(oldname, newname string) error {
	return c.change(func() error { return c.FS.Link(oldname, newname) })
}

func (c *cutFS) Remove(name string) error {
	return c.change(func() error { return c.FS.Remove(name) })
}

func (c *cutFS) RemoveAll(name string) error {
	return c.change(func() error { return c.FS.RemoveAll(name) })
}

func (c *cutFS) Rename(oldname, newname string) error {
	return c.change(func() error { return c.FS.Rename(oldname, newname) })
}

func (c *cutFS) MkdirAll(dir string, perm os.FileMode) error {
	return c.change(func() error { return c.FS.MkdirAll(dir, perm) })
}

// Lock locks nothing: the folder's lock is the Store's, and outlives what is
// taken away.
func (c *cutFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// cutFile is a file of a cutFS. Reading and closing change nothing.
type cutFile struct {
	vfs.File
	fs *cutFS
}

func (f *cutFile) Write(b []byte) (n int, err error) {
	err = f.fs.change(func() error {
		n, err = f.File.Write(b)
		return err
	})
	return n, err
}

func (f *cutFile) WriteAt(b []byte, offset int64) (n int, err error) {
	err = f.fs.change(func() error {
		n, err = f.File.WriteAt(b, offset)
		return err
	})
	return n, err
}

func (f *cutFile) Preallocate(offset, length int64) error {
	return f.fs.change(func() error { return f.File.Preallocate(offset, length) })
}

func (f *cutFile) Sync() error { return f.fs.change(f.File.Sync) }

func (f *cutFile) SyncData() error { return f.fs.change(f.File.SyncData) }

func (f *cutFile) SyncTo(length int64) (whole bool, err error) {
	err = f.fs.change(func() error {
		whole, err = f.File.SyncTo(length)
		return err
	})
	return whole, err
}
