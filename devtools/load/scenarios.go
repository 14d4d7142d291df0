package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sluice/devtools/load/body"
	"sluice/devtools/load/service"
)

// begin is the time of the first readings of a load.
func begin() time.Time { return time.Now().Add(-300 * 24 * time.Hour).Truncate(24 * time.Hour) }

// throughput posts b.readings over 8 connections, and waits until all is
// merged.
func (b *bench) throughput(name string, devices, each int) error {
	data := strings.ReplaceAll(name, " ", "-")
	l := load{connections: 8, devices: devices, each: each, interval: time.Minute, begin: begin(), readings: b.readings}
	err := b.with(data, func(p *service.Process) error {
		warm := l
		warm.begin, warm.readings = l.begin.Add(-30*24*time.Hour), b.readings/20
		if _, err := warm.run(p.URL); err != nil {
			return err
		}
		before, err := p.Usage()
		if err != nil {
			return err
		}
		client := ownCPU()
		started := time.Now()
		n, err := l.run(p.URL)
		if err != nil {
			return err
		}
		posting := time.Since(started)
		client = ownCPU() - client
		posted, err := p.Usage()
		if err != nil {
			return err
		}
		if err := p.AwaitMerged(b.ctx); err != nil {
			return err
		}
		merged, err := p.Usage()
		if err != nil {
			return err
		}
		perMillion := func(d time.Duration) float64 { return d.Seconds() / float64(n) * 1e6 }
		fmt.Println("| body | readings | readings/s (wall) | server CPU s per million, posting | of which kernel | and merging the rest | client CPU s per million | RSS at most |")
		fmt.Println("|---|---|---|---|---|---|---|---|")
		fmt.Printf("| %s | %d | %.0f | %.2f | %.2f | %.2f | %.2f | %d MiB |\n", name, n, float64(n)/posting.Seconds(),
			perMillion(posted.CPU()-before.CPU()), perMillion(posted.System-before.System), perMillion(merged.CPU()-before.CPU()),
			perMillion(client), merged.PeakRSS>>20)
		return nil
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(b.folder, data))
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// unmerged is what the journal holds when the service is killed: what arrives
// in a second or two at full speed.
const unmerged = 100_000

// start measures exec to the first 200 of a POST and of latest, after a clean
// stop and after a kill under load.
func (b *bench) start() error {
	const data = "start"
	l := load{connections: 4, devices: 1000, each: 2, interval: time.Minute, begin: begin(), readings: b.readings}
	err := b.with(data, func(p *service.Process) error {
		if _, err := l.run(p.URL); err != nil {
			return err
		}
		return p.AwaitMerged(b.ctx)
	})
	if err != nil {
		return err
	}
	fmt.Println("| after | first 200 of | best | median | worst | server CPU by then, median |\n|---|---|---|---|---|---|")
	for _, after := range []string{"a clean stop", "kill -9, 100,000 unmerged"} {
		for _, what := range []string{"POST", "latest"} {
			var took, cpu []time.Duration
			for range b.repeats {
				if after != "a clean stop" {
					if err := b.killUnderLoad(data, l); err != nil {
						return err
					}
				}
				d, used, err := b.firstAnswer(data, what)
				if err != nil {
					return err
				}
				took, cpu = append(took, d), append(cpu, used)
			}
			slices.Sort(took)
			slices.Sort(cpu)
			ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }
			fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", after, what, ms(took[0]), ms(took[len(took)/2]), ms(took[len(took)-1]), ms(cpu[len(cpu)/2]))
		}
	}
	return os.RemoveAll(filepath.Join(b.folder, data))
}

// killUnderLoad merges what is left, then posts unmerged readings, of which
// none is merged, and kills the service as soon as they are acknowledged.
func (b *bench) killUnderLoad(data string, l load) error {
	err := b.with(data, func(p *service.Process) error { return p.AwaitMerged(b.ctx) }, "SLUICE_MERGE=200ms")
	if err != nil {
		return err
	}
	p, err := b.serve(data, "SLUICE_MERGE=1h")
	if err != nil {
		return err
	}
	l.begin, l.readings = time.Now().Add(-100*24*time.Hour), unmerged
	if _, err := l.run(p.URL); err != nil {
		_ = p.Kill()
		return err
	}
	return p.Kill()
}

// firstAnswer starts the service, asks, and stops it cleanly.
func (b *bench) firstAnswer(data, what string) (took, cpu time.Duration, err error) {
	err = b.with(data, func(p *service.Process) error {
		defer func() {
			u, _ := p.Usage() // 0 is seen in the table
			cpu = u.CPU()
		}()
		if what == "latest" {
			var latest struct{ DeviceID string }
			err := p.Get(b.ctx, "/api/v1/devices/"+body.Device(17)+"/latest", nil, &latest)
			if took = time.Since(p.Started); err == nil && latest.DeviceID != body.Device(17) {
				err = errors.New("an answer for another device")
			}
			return err
		}
		v, err := p.Post(b.ctx, "/api/v1/telemetry", "application/json", "", []byte(`{"deviceId":"start","metrics":{"x":1}}`))
		if took = time.Since(p.Started); err == nil && v.Accepted != 1 {
			err = errors.New("not accepted")
		}
		return err
	})
	return took, cpu, err
}

// history asks for a day of a device that has sent a reading a minute, among
// others, for so many days.
func (b *bench) history() error {
	fmt.Println("| history | aggregates of a day, step 5m: best | median | server CPU a query | readings of a day: best | median | server CPU a query |\n|---|---|---|---|---|---|---|")
	for _, days := range []int{1, 30, 90} {
		data := fmt.Sprintf("history-%d", days)
		from := time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
		l := load{connections: 1, devices: 3, each: 1440, interval: time.Minute, begin: from.Add(-time.Duration(days-1) * 24 * time.Hour), readings: 3 * 1440 * days}
		err := b.with(data, func(p *service.Process) error {
			if _, err := l.run(p.URL); err != nil {
				return err
			}
			if err := p.AwaitMerged(b.ctx); err != nil {
				return err
			}
			return b.day(p, days, from)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) day(p *service.Process, days int, from time.Time) error {
	row := fmt.Sprintf("| %d days |", days)
	for _, q := range dayQueries(from) {
		cells, err := b.ask(p, q)
		if err != nil {
			return err
		}
		row += cells
	}
	fmt.Println(row)
	return nil
}

// ask repeats a query and returns the cells of its row.
func (b *bench) ask(p *service.Process, q dayQuery) (string, error) {
	const times = 400
	var took []time.Duration
	before, err := p.Usage()
	if err != nil {
		return "", err
	}
	for range times {
		started := time.Now()
		if err := b.askOnce(p, q); err != nil {
			return "", err
		}
		took = append(took, time.Since(started))
	}
	after, err := p.Usage()
	if err != nil {
		return "", err
	}
	slices.Sort(took)
	return fmt.Sprintf(" %.2f ms | %.2f ms | %.2f ms |", took[0].Seconds()*1e3, took[times/2].Seconds()*1e3,
		(after.CPU()-before.CPU()).Seconds()*1e3/times), nil
}

// disk measures what is on the disk once all is merged and the service has
// stopped.
func (b *bench) disk() error {
	fmt.Println("| data | readings | metrics | bytes sent a reading | bytes on disk a reading |\n|---|---|---|---|---|")
	if err := b.diskOfRecordings(); err != nil {
		return err
	}
	l := load{connections: 4, devices: 100, each: 10, interval: time.Minute, begin: begin(), readings: b.readings}
	n, data := 0, "disk-fleet"
	err := b.with(data, func(p *service.Process) (err error) {
		if n, err = l.run(p.URL); err != nil {
			return err
		}
		return p.AwaitMerged(b.ctx)
	})
	if err != nil {
		return err
	}
	t := body.New(0, l.devices, l.each, l.interval)
	return b.diskRow("fleet of 400 devices", data, n, 4, len(t.Bytes)/t.Readings*n)
}

func (b *bench) diskRow(name, data string, readings, metrics, sent int) error {
	size, err := b.size(data)
	if err != nil {
		return err
	}
	fmt.Printf("| %s | %d | %d | %.1f | %.2f |\n", name, readings, metrics, float64(sent)/float64(readings), float64(size)/float64(readings))
	return os.RemoveAll(filepath.Join(b.folder, data))
}

// diskOfRecordings posts all recordings, and all again so often that the store
// has more than what it keeps open anyway: under other devices.
func (b *bench) diskOfRecordings() error {
	files, err := filepath.Glob(filepath.Join(b.nab, "*.csv"))
	if err != nil || len(files) == 0 {
		fmt.Printf("| NAB | no recordings in %s | | | |\n", b.nab)
		return nil
	}
	const copies = 10
	n, sent, data := 0, 0, "disk-nab"
	err = b.with(data, func(p *service.Process) error {
		for i := range copies {
			for _, file := range files {
				readings, bytes, err := b.postRecording(p, file, fmt.Sprintf("-%d", i))
				if err != nil {
					return err
				}
				n, sent = n+readings, sent+bytes
			}
		}
		return p.AwaitMerged(b.ctx)
	})
	if err != nil {
		return err
	}
	return b.diskRow(fmt.Sprintf("NAB, 9 recordings × %d devices", copies), data, n, 1, sent)
}

func (b *bench) postRecording(p *service.Process, path, suffix string) (readings, sent int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return 0, 0, err
	}
	device := strings.TrimSuffix(filepath.Base(path), ".csv") + suffix
	for part := range slices.Chunk(rows[1:], 500) {
		var text []byte
		for _, row := range part {
			text = fmt.Appendf(text, `{"deviceId":%q,"ts":"%sZ","metrics":{"value":%s}}`+"\n", device, strings.Replace(row[0], " ", "T", 1), row[1])
		}
		v, err := p.Post(b.ctx, "/api/v1/telemetry", "application/x-ndjson", "", text)
		var status *service.StatusError
		if errors.As(err, &status) && status.Status == http.StatusServiceUnavailable {
			return 0, 0, fmt.Errorf("the service is overloaded by one client: %w", err)
		}
		if err != nil || v.Accepted != len(part) {
			return 0, 0, fmt.Errorf("post %s: %d of %d accepted: %w", path, v.Accepted, len(part), err)
		}
		readings, sent = readings+len(part), sent+len(text)
	}
	return readings, sent, nil
}
