// Command load measures the service from outside: it runs the real binary on a
// folder of its own, puts it under load, and prints the figures of
// docs/benchmarks.md as tables. It needs Linux (/proc).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"sluice/devtools/load/service"
)

// bench is a run of scenarios.
type bench struct {
	ctx      context.Context
	binary   string
	folder   string // of this run, removed at its end
	readings int
	repeats  int
	nab      string
	plots    string        // where charts are written; "": nowhere
	length   time.Duration // of a load through the hub
	outage   time.Duration // of the store behind the hub
}

type scenario struct {
	store, name, about string
	run                func(*bench) error
}

// Stores that are measured. Which of them a scenario is about decides what is
// run unless scenarios are named.
const (
	embedded  = "embedded"
	onAzurite = "azurite"
	behindHub = "hub" // of Event Hubs, before Azurite
	simulated = "simulated"
)

var scenarios = []scenario{
	{embedded, "arrays", "arrays of 500 readings of 50 devices, 8 connections", func(b *bench) error { return b.throughput("arrays of 500", 50, 10) }},
	{embedded, "fleet", "bodies of 5,000 readings of 2,500 devices, 8 connections", func(b *bench) error { return b.throughput("bodies of 5,000", 2500, 2) }},
	{embedded, "start", "exec to the first answer, on a store of a million readings", (*bench).start},
	{embedded, "history", "a day of a device by how much history it has", (*bench).history},
	{embedded, "disk", "bytes on disk a reading, NAB recordings and a fleet", (*bench).disk},
	{embedded, "fair", "100 devices within their limits beside one at 50 times its own, and without it", (*bench).fair},
	{onAzurite, "ingest", "bodies of 500 readings of 500 devices, 16 connections, beside Azurite's own rows a second", (*bench).ingest},
	{onAzurite, "paced", "10,000 devices that send a reading a minute in a request each, SLUICE_LINGER=100ms", (*bench).paced},
	{onAzurite, "day", "a day of a device by how much history it has", (*bench).dayOnTables},
	{onAzurite, "host", "what the host stand-in adds to a call", (*bench).underHost},
	{behindHub, "maximum", "bodies of 500 readings of 500 devices, 16 connections, HTTP to the hub stand-in to Azurite", (*bench).maximum},
	{behindHub, "fleets", "10,000 devices with a reading a minute, and 500 with ten a second, SLUICE_LINGER=100ms", (*bench).fleets},
	{behindHub, "freshness", "from 202 to an answer, at half the rate that goes through", (*bench).freshness},
	{behindHub, "catch-up", "the store away, at half the rate that goes through", (*bench).catchUp},
	{simulated, "operations", "operations of a table store, counted in simulated time", (*bench).sweeps},
}

// kinds are the stores, each with what is measured of it.
func kinds() string {
	var all []string
	for _, store := range []string{embedded, onAzurite, behindHub, simulated} {
		all = append(all, store+" ("+strings.Join(of(store), ",")+")")
	}
	return strings.Join(all, ", ")
}

// of are the names of a store's scenarios.
func of(store string) (names []string) {
	for _, s := range scenarios {
		if s.store == store {
			names = append(names, s.name)
		}
	}
	return names
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	binary := flags.String("binary", "bin/handler", "the binary to measure")
	readings := flags.Int("readings", 1_000_000, "readings of arrays, fleet and start")
	repeats := flags.Int("repeats", 5, "starts of each kind")
	kind := flags.String("store", embedded, "the store to measure: "+kinds())
	which := flags.String("scenarios", "", "which of the store's scenarios; all without")
	length := flags.Duration("length", 20*time.Second, "how long a load through the hub is")
	outage := flags.Duration("outage", time.Minute, "how long the store behind the hub is away")
	plots := flags.String("plots", "", "folder for the charts of what is simulated")
	folder := flags.String("folder", os.TempDir(), "where the data folders are made: on the disk to measure")
	nab := flags.String("nab", "../shared/data/nab", "recordings of the Numenta Anomaly Benchmark")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{ctx: ctx, readings: *readings, repeats: *repeats, nab: *nab, plots: *plots, length: *length, outage: *outage}
	if b.binary, err = filepath.Abs(*binary); err != nil {
		return err
	}
	if b.folder, err = os.MkdirTemp(*folder, "sluice-load-"); err != nil {
		return err
	}
	defer func() { err = first(err, os.RemoveAll(b.folder)) }()
	fmt.Printf("%s, %d processors, %s, load of the machine before: %s\n", time.Now().UTC().Format("2006-01-02 15:04"), runtime.NumCPU(), runtime.Version(), machineLoad())
	names := of(*kind)
	if *which != "" {
		names = strings.Split(*which, ",")
	}
	return b.runAll(*kind, names)
}

// runAll runs some of a store's scenarios.
func (b *bench) runAll(store string, names []string) error {
	if len(of(store)) == 0 {
		return fmt.Errorf("store %q: %s would be right", store, kinds())
	}
	for _, name := range names {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.store == store && s.name == name })
		if i < 0 {
			return fmt.Errorf("scenario %q: some of %s would be right", name, strings.Join(of(store), ", "))
		}
		fmt.Printf("\n### %s: %s\n\n", name, scenarios[i].about)
		if err := scenarios[i].run(b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func first(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// machineLoad is what else the machine does: figures of a busy one are worth
// little.
func machineLoad() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// settings of the service under load. Merging is as often as it is under load
// anyway; the rest is as it comes.
var settings = []string{"SLUICE_RETENTION=forever", "SLUICE_MERGE=5s"}

func (b *bench) serve(data string, env ...string) (*service.Process, error) {
	return service.Start(b.binary, filepath.Join(b.folder, data), append(settings[:len(settings):len(settings)], env...)...)
}

// with runs f against a service over a folder and stops it cleanly.
func (b *bench) with(data string, f func(*service.Process) error, env ...string) error {
	p, err := b.serve(data, env...)
	if err != nil {
		return err
	}
	if err := f(p); err != nil {
		_ = p.Kill()
		return err
	}
	return p.Stop()
}

// size is the bytes of a folder's files, as the disk has them.
func (b *bench) size(data string) (n int64, err error) {
	err = filepath.WalkDir(filepath.Join(b.folder, data), func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
