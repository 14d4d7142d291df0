package event

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"sluice/telemetry/block"
)

// FuzzDecode decodes what the fuzzer changed, also under the right frame and
// checksum: it would never guess them.
func FuzzDecode(f *testing.F) {
	for _, body := range samples(f) {
		f.Add(body)
	}
	f.Add([]byte(nil))
	f.Add([]byte(magic))
	f.Add([]byte(`{"deviceId":"a"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if devices, err := Decode(data); err != nil && (devices != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion)) {
			t.Fatalf("%v, %v", devices, err)
		}
		if len(data) < headSize {
			return
		}
		devices, err := Decode(resealed(data, func(b []byte) { copy(b, magic); b[versionAt] = version }))
		if err != nil {
			return
		}
		size := 0
		for i := range devices {
			size += devices[i].Size()
		}
		if size > block.MaxDecoded || len(devices) == 0 {
			return // would be cut
		}
		again := mustEncode(t, devices, 64<<20)
		got, err := Decode(again[0])
		if err != nil || len(again) != 1 || !reflect.DeepEqual(got, devices) {
			t.Fatalf("%d bodies, %v; got\n%+v\nwant\n%+v", len(again), err, got, devices)
		}
		if twice := mustEncode(t, got, 64<<20); !bytes.Equal(twice[0], again[0]) {
			t.Fatal("the same devices are other bytes")
		}
	})
}
