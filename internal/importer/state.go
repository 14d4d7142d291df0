package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

var errDone = errors.New("done before")

// state remembers how far each file is, in a file of its own. The zero path
// remembers nothing.
type state struct {
	path string
	mu   sync.Mutex
	data stateData
}

type stateData struct {
	Files map[string]fileState `json:"files"`
}

type fileState struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	// Line is the one to go on with: everything before it is done.
	Line int  `json:"line"`
	Done bool `json:"done"`
}

func loadState(path string) (*state, error) {
	s := &state{path: path, data: stateData{Files: map[string]fileState{}}}
	if path == "" {
		return s, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.write()
	}
	if err != nil {
		return nil, err
	}
	s.data = stateData{}
	if err := json.Unmarshal(text, &s.data); err != nil || s.data.Files == nil {
		return nil, fmt.Errorf("%s: not a file that --resume wrote", path)
	}
	return s, nil
}

// begin returns the line to go on with. A file that changed is refused, because
// its lines mean something else now.
func (s *state) begin(name string) (int, error) {
	if s.path == "" {
		return 0, nil
	}
	now, key, err := look(name)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was, known := s.data.Files[key]
	switch {
	case !known:
		s.data.Files[key] = now
		return 0, nil
	case was.Size != now.Size || !was.Modified.Equal(now.Modified):
		return 0, fmt.Errorf("%s: changed since its import began; to import it from its start remove it from %s, or that file", name, s.path)
	case was.Done:
		return 0, errDone
	}
	return was.Line, nil
}

func (s *state) save(name string, line int, done bool) error {
	if s.path == "" {
		return nil
	}
	key, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.data.Files[key]
	f.Line, f.Done = line, done
	s.data.Files[key] = f
	return s.write()
}

// write replaces the file as a whole, so that there is always one to read.
func (s *state) write() error {
	text, err := json.MarshalIndent(s.data, "", "  ")
	if err != nil {
		return err
	}
	next := s.path + ".new"
	if err := os.WriteFile(next, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.path)
}

func look(name string) (fileState, string, error) {
	if name == "-" {
		return fileState{}, "", errors.New("standard input cannot be gone on with: --resume takes files")
	}
	key, err := filepath.Abs(name)
	if err != nil {
		return fileState{}, "", err
	}
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}, "", err
	}
	return fileState{Size: info.Size(), Modified: info.ModTime()}, key, nil
}
