package pebble

import (
	"errors"
	"fmt"
)

func sprintf(format string, args []any) string { return fmt.Sprintf(format, args...) }

func fatalError(text string) error { return errors.New(text) }

// after returns the least key that is greater than all keys with the prefix,
// of which not all bytes may be 0xff.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
}
