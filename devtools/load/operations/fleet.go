package operations

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sluice/telemetry"
)

// Fleet is a number of devices that each send Batch readings every so often, at
// moments of their own; or those behind a gateway together, in one body.
type Fleet struct {
	Name    string
	Devices int
	Every   time.Duration // between two bodies
	Batch   int           // a device's readings in a body, spread over Every
	Gateway int           // devices that share a body; 0: each has its own
}

// PerSecond is how many readings the fleet sends a second.
func (f Fleet) PerSecond() float64 { return float64(f.Devices*f.Batch) / f.Every.Seconds() }

// Interval is the time between two readings of a device.
func (f Fleet) Interval() time.Duration { return f.Every / time.Duration(f.Batch) }

// Sensor is the id of a device.
func Sensor(i int) string { return fmt.Sprintf("sensor-%05d", i) }

var states = []string{"OK", "WARN", "FAIL"}

// Reading makes a device's reading of a time: two numbers, a boolean and a
// string.
func Reading(device int, at time.Time, dice *rand.Rand) telemetry.Reading {
	return telemetry.Reading{Device: Sensor(device), Time: at.UnixNano(), Metrics: []telemetry.Metric{
		{Name: "humidity", Value: telemetry.FloatValue(40 + float64(dice.IntN(40)))},
		{Name: "running", Value: telemetry.BoolValue(dice.IntN(10) > 0)},
		{Name: "state", Value: telemetry.TextValue(states[dice.IntN(3)])},
		{Name: "temperature", Value: telemetry.FloatValue(20 + float64(dice.IntN(100))/10)},
	}}
}

// arrivals are a fleet's bodies in order.
type arrivals struct {
	fleet   Fleet
	dice    *rand.Rand
	gateway int             // devices a body
	order   []int           // senders by their moments
	moment  []time.Duration // of each sender, within Every
	next    int             // bodies given so far
}

func (f Fleet) arrivals() *arrivals {
	a := &arrivals{fleet: f, dice: rand.New(rand.NewPCG(3, 4)), gateway: max(f.Gateway, 1)}
	a.moment = make([]time.Duration, (f.Devices+a.gateway-1)/a.gateway)
	for i := range a.moment {
		a.moment[i] = time.Duration(a.dice.Int64N(int64(f.Every)))
		a.order = append(a.order, i)
	}
	slices.SortFunc(a.order, func(x, y int) int { return int(a.moment[x] - a.moment[y]) })
	return a
}

// peek is when the next body comes.
func (a *arrivals) peek() time.Duration {
	return time.Duration(a.next/len(a.order))*a.fleet.Every + a.moment[a.order[a.next%len(a.order)]]
}

// take returns the next body; begin is when the simulation began.
func (a *arrivals) take(begin time.Time) []telemetry.Reading {
	at, sender := begin.Add(a.peek()), a.order[a.next%len(a.order)]
	a.next++
	var readings []telemetry.Reading
	for device := sender * a.gateway; device < min((sender+1)*a.gateway, a.fleet.Devices); device++ {
		for i := range a.fleet.Batch {
			back := time.Duration(a.fleet.Batch-1-i) * a.fleet.Interval()
			readings = append(readings, Reading(device, at.Add(-back), a.dice))
		}
	}
	return readings
}
