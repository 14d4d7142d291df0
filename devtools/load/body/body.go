// Package body makes the bodies that the load generator and the benchmarks
// send: JSON arrays of readings of four metrics (two numbers, a boolean, a
// string), whose times can be moved without encoding them again.
package body

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Template is a body. It may be used by one goroutine at a time.
type Template struct {
	Bytes    []byte
	Readings int
	Interval time.Duration // between two readings of a device
	Each     int           // readings of a device

	times []int // where each reading's time begins
}

// layout has the same length for every time.
const layout = "2006-01-02T15:04:05Z"

// Device is the id of a device of the load.
func Device(i int) string { return fmt.Sprintf("device-%05d", i) }

// New makes a body of the devices [first, first+devices), each with as many
// readings, interval apart; the readings of a time stand together.
func New(first, devices, each int, interval time.Duration) *Template {
	t := &Template{Readings: devices * each, Interval: interval, Each: each}
	dice := rand.New(rand.NewPCG(uint64(first), uint64(each)))
	state := []string{"OK", "WARN", "FAIL"}
	t.Bytes = append(t.Bytes, '[')
	for range each {
		for d := range devices {
			if len(t.times) > 0 {
				t.Bytes = append(t.Bytes, ',')
			}
			t.Bytes = fmt.Appendf(t.Bytes, `{"deviceId":%q,"ts":"`, Device(first+d))
			t.times = append(t.times, len(t.Bytes))
			t.Bytes = fmt.Appendf(t.Bytes, `%s","metrics":{"temperature":%.1f,"humidity":%d,"running":%t,"state":%q}}`,
				layout, 20+dice.Float64()*10, 40+dice.IntN(40), dice.IntN(10) > 0, state[dice.IntN(3)])
		}
	}
	t.Bytes = append(t.Bytes, ']')
	return t
}

// At makes from the time of the first readings.
func (t *Template) At(from time.Time) {
	perTime := t.Readings / t.Each
	for i := range t.Each {
		text := from.Add(time.Duration(i) * t.Interval).UTC().Format(layout)
		for d := range perTime {
			copy(t.Bytes[t.times[i*perTime+d]:], text)
		}
	}
}

// Span is the time that a body covers: the next one may begin after it.
func (t *Template) Span() time.Duration { return time.Duration(t.Each) * t.Interval }
