// Command host runs an app root under the stand-in for the Azure Functions
// host, in the place of `func start`:
//
//	go run ./devtools/host/cmd/host -root . -mode forward
//
// Settings come from local.settings.json of the app root and from the
// environment, which wins. Functions with an eventHubTrigger get the events of the
// hub that their connection string leads to.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"sluice/devtools/host"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

func run(ctx context.Context, arguments, environ []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("host", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "the app `folder`, with host.json")
	port := flags.Int("port", 7071, "`port` on 127.0.0.1")
	mode := flags.String("mode", "proxy", "proxy (newer hosts) or forward (older ones)")
	key := flags.String("key", "", "`key` that opens the admin API and functions that are not anonymous; closed without one")
	checkpoints := flags.String("checkpoints", "", "`file` that keeps how far Event Hubs are read; without one they are read from their begin at each start")
	redeliver := flags.Float64("redeliver", 0, "`share` of an Event Hub's events, 0 to 1, that come again, and all in batches of random sizes; 0: neither")
	verbose := flags.Bool("verbose", false, "also what only tests want to know")
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	options := host.Options{Root: *root, Port: *port, Key: *key, Mode: host.Proxy, Environ: environ}
	switch *mode {
	case "proxy":
	case "forward":
		options.Mode = host.Forward
	default:
		fmt.Fprintf(stderr, "host: -mode %q: proxy or forward would be right\n", *mode)
		return 2
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	options.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	options.Output = func(l host.Line) { fmt.Fprintln(stdout, l.Text) }
	hubs, err := host.NewHubs(host.HubOptions{File: *checkpoints, Cut: *redeliver > 0, Redeliver: *redeliver, Seed: uint64(time.Now().UnixNano())})
	if err != nil {
		fmt.Fprintln(stderr, "host:", err)
		return 2
	}
	options.Hubs = hubs
	local, err := host.LocalSettings(*root)
	if err != nil {
		fmt.Fprintln(stderr, "host:", err)
		return 2
	}
	options.Settings = withoutSet(append(local, "AZURE_FUNCTIONS_ENVIRONMENT=Development"), environ)
	return serve(ctx, options, stderr)
}

// withoutSet leaves out settings that the environment has, and all but the
// first of a name.
func withoutSet(settings, environ []string) []string {
	has := map[string]bool{}
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		has[name] = true
	}
	return slices.DeleteFunc(settings, func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		defer func() { has[name] = true }()
		return has[name]
	})
}

func serve(ctx context.Context, options host.Options, stderr io.Writer) int {
	h, err := host.Start(ctx, options)
	if err != nil {
		fmt.Fprintln(stderr, "host:", err)
		return 2
	}
	describe(h, stderr)
	<-h.Done()
	if err := h.Err(); err != nil {
		fmt.Fprintln(stderr, "host:", err)
		return 1
	}
	return 0
}

// describe lists the functions as `func start` does.
func describe(h *host.Host, w io.Writer) {
	fmt.Fprintf(w, "\nFunctions:\n\n")
	for _, f := range h.Functions() {
		switch {
		case f.Disabled:
			fmt.Fprintf(w, "\t%s: disabled\n", f.Name)
		case f.Err != nil:
			fmt.Fprintf(w, "\t%s: does not start: %v\n", f.Name, f.Err)
		case f.Route != "":
			methods := strings.Join(f.Methods, ",")
			if methods == "" {
				methods = "every method"
			}
			fmt.Fprintf(w, "\t%s: [%s] %s%s\n", f.Name, methods, h.URL(), f.Route)
		default:
			fmt.Fprintf(w, "\t%s: %s %s%s\n", f.Name, f.Trigger, f.Schedule, f.Hub)
		}
	}
	fmt.Fprintln(w)
}
