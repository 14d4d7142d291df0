package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sluice/devtools/host"
	"sluice/devtools/load/body"
	"sluice/devtools/load/service"
)

// functions are what makes an app root of the module's files, besides the
// binary.
var functions = []string{"host.json", "ingest/function.json", "query/function.json", "compact/function.json", "consume/function.json"}

// appRoot makes an app root with the binary that is measured.
func (b *bench) appRoot(mode host.Mode) (string, error) {
	root, err := os.MkdirTemp(b.folder, "root-"+mode.String()+"-")
	if err != nil {
		return "", err
	}
	for _, file := range functions {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("run this in the module's root: %w", err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(root, file), text, 0o644); err != nil {
			return "", err
		}
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		return "", err
	}
	return root, os.Symlink(b.binary, filepath.Join(root, "bin", "handler"))
}

// way is a way to the service: alone, or through the host stand-in.
type way struct {
	name   string
	client service.Client
	took   []time.Duration
}

// underHost measures calls through the host stand-in, in both modes, beside the
// same calls without it. The ways take turns, so that what else the machine
// does falls on all of them; each has an embedded store of its own.
func (b *bench) underHost() (err error) {
	alone, err := b.serve("alone")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, alone.Kill()) }()
	ways := []*way{{name: "alone", client: alone.Client}}
	for _, mode := range []host.Mode{host.Proxy, host.Forward} {
		h, err := b.startHost(mode, nil, "SLUICE_DATA="+filepath.Join(b.folder, "data-"+mode.String()), "AzureWebJobs.consume.Disabled=true")
		if err != nil {
			return err
		}
		defer h.Kill()
		ways = append(ways, &way{name: mode.String(), client: service.NewClient(h.URL())})
	}
	fmt.Println("| call | way | best | median | 95% | median, more than alone |\n|---|---|---|---|---|---|")
	for _, c := range b.calls() {
		for range 300 {
			for _, w := range ways {
				started := time.Now()
				if err := c.do(w.client); err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, w.name, err)
				}
				w.took = append(w.took, time.Since(started))
			}
		}
		for _, w := range ways {
			slices.Sort(w.took)
			fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", c.name, w.name, milli(w.took[0]), milli(at(w.took, 0.5)), milli(at(w.took, 0.95)), milli(at(w.took, 0.5)-at(ways[0].took, 0.5)))
		}
		for _, w := range ways {
			w.took = nil
		}
	}
	return nil
}

// startHost starts the service under the host stand-in, with settings of its own.
// hubs feed its Event Hub trigger.
func (b *bench) startHost(mode host.Mode, hubs *host.Hubs, env ...string) (*host.Host, error) {
	root, err := b.appRoot(mode)
	if err != nil {
		return nil, err
	}
	h, err := host.Start(b.ctx, host.Options{
		Root: root, Mode: mode, Environ: service.Environ(), Output: func(host.Line) {}, Hubs: hubs,
		Settings: slices.Concat([]string{service.NoRate}, settings, env, []string{"AZURE_FUNCTIONS_ENVIRONMENT=Development", "AzureWebJobsDisableHomepage=true"}),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := h.Ready(ctx); err != nil {
		h.Kill()
		return nil, err
	}
	return h, nil
}

type call struct {
	name string
	do   func(service.Client) error
}

// calls are a small one, a usual one and a large one that write, and one that
// reads what the first wrote.
func (b *bench) calls() []call {
	post := func(text []byte, readings int) func(service.Client) error {
		return func(c service.Client) error {
			v, err := c.Post(b.ctx, "/api/v1/telemetry", "application/json", "", text)
			if err == nil && v.Accepted != readings {
				err = fmt.Errorf("%d of %d accepted", v.Accepted, readings)
			}
			return err
		}
	}
	bodyOf := func(devices, each int) ([]byte, int) {
		t := body.New(0, devices, each, time.Minute)
		t.At(begin())
		return t.Bytes, t.Readings
	}
	return []call{
		{"POST of a reading", post(bodyOf(1, 1))},
		{"GET latest", func(c service.Client) error {
			var answer json.RawMessage
			return c.Get(b.ctx, "/api/v1/devices/"+body.Device(0)+"/latest", url.Values{}, &answer)
		}},
		{"POST of 500 readings (65 kB)", post(bodyOf(50, 10))},
	}
}
