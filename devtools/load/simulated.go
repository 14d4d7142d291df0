package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/devtools/load/operations"
	"sluice/devtools/load/plot"
)

// fleets are what is typical.
var fleets = []operations.Fleet{
	{Name: "10,000 devices, a reading a minute, a request each", Devices: 10_000, Every: time.Minute, Batch: 1},
	{Name: "20 gateways of 500 devices, a reading a minute each, a body a gateway", Devices: 10_000, Every: time.Minute, Batch: 1, Gateway: 500},
	{Name: "1,000 devices, a reading a second, in bodies of 60", Devices: 1000, Every: time.Minute, Batch: 60},
	{Name: "100 devices, 10 readings a second, in bodies of 10", Devices: 100, Every: time.Second, Batch: 10},
	{Name: "1 device, a reading a second, a request each", Devices: 1, Every: time.Second, Batch: 1},
}

// usual are the settings around which one is varied: those that the blueprint
// started from. ADR 0012 rests on them; the service has 16 buckets since.
var usual = operations.Settings{Shards: 8, Buckets: 32, Merge: time.Minute, Linger: 100 * time.Millisecond, Commit: 10 * time.Millisecond}

// sweep varies one setting.
type sweep struct {
	name, along string
	values      []string
	set         func(*operations.Settings, string)
}

var sweeps = []sweep{
	{"merge", "merge interval (SLUICE_MERGE)", []string{"15s", "30s", "1m", "2m", "5m", "15m"},
		func(s *operations.Settings, v string) { s.Merge = duration(v) }},
	{"shards", "shards (SLUICE_SHARDS)", []string{"4", "8", "16", "32"},
		func(s *operations.Settings, v string) { s.Shards = number(v) }},
	{"buckets", "buckets a shard", []string{"1", "8", "16", "32", "64"},
		func(s *operations.Settings, v string) { s.Buckets = number(v) }},
	{"linger", "SLUICE_LINGER", []string{"0", "50ms", "100ms", "250ms", "500ms", "1s"},
		func(s *operations.Settings, v string) { s.Linger = duration(v) }},
}

func duration(s string) time.Duration {
	d, _ := time.ParseDuration(s) // of the constants above
	return d
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// cases remembers what was measured: sweeps share their middle.
type cases map[string]operations.Result

func (c cases) measure(ctx context.Context, f operations.Fleet, s operations.Settings) (operations.Result, error) {
	key := fmt.Sprint(f, s)
	if r, ok := c[key]; ok {
		return r, nil
	}
	probes := 8
	if f.PerSecond()/float64(f.Devices) > 1 { // their day is long
		probes = 2
	}
	r, err := operations.Measure(ctx, operations.Case{Fleet: f, Settings: s, Length: 5 * time.Minute, Probes: probes})
	if err != nil {
		return r, fmt.Errorf("%s, %+v: %w", f.Name, s, err)
	}
	c[key] = r
	return r, nil
}

// sweeps measures what each setting does to each fleet.
func (b *bench) sweeps() error {
	known := cases{}
	for _, s := range sweeps {
		fmt.Printf("#### By %s\n\n%s", s.along, header(s.along, s.name == "linger"))
		results := make([][]operations.Result, len(fleets))
		for i, f := range fleets {
			for _, v := range s.values {
				settings := usual
				s.set(&settings, v)
				r, err := known.measure(b.ctx, f, settings)
				if err != nil {
					return err
				}
				results[i] = append(results[i], r)
				fmt.Println(line(f.Name, v, r, s.name == "linger"))
			}
		}
		fmt.Println()
		for _, chart := range charts(s, results) {
			if err := b.plot(chart.name, chart.Chart); err != nil {
				return err
			}
		}
	}
	return b.tails(known)
}

func header(along string, waits bool) string {
	columns := []string{"fleet", along, "journal: transactions", "rows", "compactor: requests to read", "rows read", "transactions", "rows written",
		"requests a second", "`latest`: rows (requests)", "chart of 1 h", "chart of a day", "list of devices"}
	if waits {
		columns = append(columns, "answered after: median", "95%", "at most")
	}
	return "| " + strings.Join(columns, " | ") + " |\n" + strings.Repeat("|---", len(columns)) + "|\n"
}

// line is a row of a table: journal and compactor a million readings, queries
// each.
func line(fleet, value string, r operations.Result, waits bool) string {
	million := func(n int64) string { return thousands(float64(n) / float64(r.Readings) * 1e6) }
	query := func(c operations.Counts) string { return fmt.Sprintf("%d (%d)", c.RowsRead, c.Reads) }
	cells := []string{fleet, value,
		million(r.Append.Writes), million(r.Append.RowsWritten),
		million(r.Merge.Reads), million(r.Merge.RowsRead), million(r.Merge.Writes), million(r.Merge.RowsWritten),
		fmt.Sprintf("%.1f", requests(r)), query(r.Latest), query(r.Hour), query(r.Day), query(r.List),
	}
	if waits {
		for _, share := range []float64{0.5, 0.95, 1} {
			cells = append(cells, fmt.Sprintf("%d ms", r.Wait(share).Milliseconds()))
		}
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

func requests(r operations.Result) float64 {
	return float64(r.Append.Requests()+r.Merge.Requests()) / r.Seconds
}

// thousands writes a number with its groups apart, rounded to three digits.
func thousands(v float64) string {
	unit := 1.0
	for v/unit >= 1000 {
		unit *= 10
	}
	s := strconv.FormatFloat(float64(int64(v/unit+0.5))*unit, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

type namedChart struct {
	name string
	plot.Chart
}

// charts draws what a setting does to the first fleet, whose requests are most;
// for pacing, also how long its clients wait.
func charts(s sweep, results [][]operations.Result) []namedChart {
	rate := func(f func(operations.Result) float64) (values []float64) {
		for _, r := range results[0] {
			values = append(values, f(r))
		}
		return values
	}
	a := func(c func(operations.Result) int64) []float64 {
		return rate(func(r operations.Result) float64 { return float64(c(r)) / r.Seconds })
	}
	series := []plot.Series{
		{Name: "journal: transactions/s", Values: a(func(r operations.Result) int64 { return r.Append.Writes })},
		{Name: "journal: rows written/s", Values: a(func(r operations.Result) int64 { return r.Append.RowsWritten })},
		{Name: "compactor: requests/s", Values: a(func(r operations.Result) int64 { return r.Merge.Requests() })},
		{Name: "compactor: rows written/s", Values: a(func(r operations.Result) int64 { return r.Merge.RowsWritten })},
		{Name: "compactor: rows read/s", Values: a(func(r operations.Result) int64 { return r.Merge.RowsRead })},
	}
	if s.name == "linger" {
		series = []plot.Series{series[0], series[1],
			{Name: "answer after, median (ms)", Dashed: true, Values: rate(func(r operations.Result) float64 { return float64(r.Wait(0.5).Milliseconds()) })},
			{Name: "answer after, 95% (ms)", Dashed: true, Values: rate(func(r operations.Result) float64 { return float64(r.Wait(0.95).Milliseconds()) })},
		}
	} else {
		series = append(series, plot.Series{Name: "rows of a latest, at worst", Dashed: true,
			Values: rate(func(r operations.Result) float64 { return float64(r.Latest.RowsRead) })})
	}
	return []namedChart{{"by-" + s.name, plot.Chart{Title: fleets[0].Name, Along: s.along, Up: "a second; rows", Labels: s.values, Series: series}}}
}

// tails is the grid of merge intervals and buckets: what a latest reads of the
// tail at worst.
func (b *bench) tails(known cases) error {
	merges, buckets := sweeps[0].values, sweeps[2].values
	for _, f := range fleets[:2] {
		fmt.Printf("#### Rows of a `latest` at worst: %s\n\n| buckets | %s |\n|---%s|\n", f.Name, strings.Join(merges, " | "), strings.Repeat("|---", len(merges)))
		chart := plot.Chart{Title: f.Name, Along: sweeps[0].along, Up: "rows of a latest, just before a merge", Labels: merges}
		for _, n := range buckets {
			row, series := "| "+n+" |", plot.Series{Name: n + " buckets"}
			for _, m := range merges {
				settings := usual
				settings.Buckets, settings.Merge = number(n), duration(m)
				r, err := known.measure(b.ctx, f, settings)
				if err != nil {
					return err
				}
				row += fmt.Sprintf(" %d |", r.Latest.RowsRead)
				series.Values = append(series.Values, float64(r.Latest.RowsRead))
			}
			fmt.Println(row)
			chart.Series = append(chart.Series, series)
		}
		fmt.Println()
		if f.Name == fleets[0].Name {
			if err := b.plot("tails", chart); err != nil {
				return err
			}
		}
	}
	return nil
}

// plot writes a chart into the folder of plots, if there is one.
func (b *bench) plot(name string, c plot.Chart) error {
	if b.plots == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(b.plots, "0012-"+name+".svg"), c.SVG(), 0o644)
}
