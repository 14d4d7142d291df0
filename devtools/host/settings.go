package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// LocalSettings reads the app settings that local.settings.json of an app root
// has, as "NAME=value"; none if there is no such file.
func LocalSettings(root string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(root, "local.settings.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var file struct {
		IsEncrypted bool
		Values      map[string]string
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("local.settings.json: %w", err)
	}
	if file.IsEncrypted {
		return nil, errors.New("local.settings.json is encrypted")
	}
	var settings []string
	for name, value := range file.Values {
		settings = append(settings, name+"="+value)
	}
	slices.Sort(settings)
	return settings, nil
}
