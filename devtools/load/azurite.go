package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/load/counting"
	"sluice/devtools/load/service"
)

// tablesService is the service on an account of Azurite, reached directly or
// through a proxy that counts.
type tablesService struct {
	*service.Process
	proxy *counting.Proxy // nil: direct
}

// onTables starts the service on an account.
func (b *bench) onTables(account azurite.Account, env ...string) (*tablesService, error) {
	p, err := b.serve("unused", append(env, "SLUICE_TABLES="+account.ConnectionString())...)
	if err != nil {
		return nil, err
	}
	return &tablesService{Process: p}, p.AwaitReady(b.ctx)
}

// counted starts the service on an account behind a proxy that counts.
func (b *bench) counted(server *azurite.Server, account azurite.Account, env ...string) (*tablesService, error) {
	proxy, err := counting.Start(server.Address())
	if err != nil {
		return nil, err
	}
	s, err := b.onTables(account.At(proxy.Address()), env...)
	if err != nil {
		return nil, errors.Join(err, proxy.Close())
	}
	s.proxy = proxy
	return s, nil
}

// end stops the service cleanly; after a failure it is killed, and the failure
// is returned.
func (s *tablesService) end(failure error) error {
	var err error
	if failure != nil {
		err = errors.Join(failure, s.Kill())
	} else {
		err = s.Stop()
	}
	if s.proxy != nil {
		err = errors.Join(err, s.proxy.Close())
	}
	return err
}

// withAzurite runs f against an Azurite of its own.
func (b *bench) withAzurite(f func(*azurite.Server) error) error {
	server, err := azurite.Start(b.ctx, azurite.Options{})
	if err != nil {
		return err
	}
	return first(f(server), server.Close())
}

// Bodies of the aim: 500 readings of 500 devices, from 16 connections.
func tablesLoad(length time.Duration) load {
	return load{connections: 16, devices: 500, each: 1, interval: time.Minute, begin: begin(), length: length}
}

// tablesEnv are the settings under load: merging is part of it.
var tablesEnv = []string{"SLUICE_MERGE=10s"}

// ingest measures readings through HTTP onto Azurite beside what Azurite itself
// does, before and after, and then counts what a reading costs.
func (b *bench) ingest() error {
	return b.withAzurite(func(server *azurite.Server) error {
		before, err := measureCeiling(b.ctx, server, 5*time.Second)
		if err != nil {
			return err
		}
		for _, linger := range []string{"SLUICE_LINGER=0", "SLUICE_LINGER=100ms"} {
			r, err := b.postTables(server, linger)
			if err != nil {
				return err
			}
			after, err := measureCeiling(b.ctx, server, 5*time.Second)
			if err != nil {
				return err
			}
			fmt.Printf("%s\n\n", linger)
			r.print(before, after)
			before = after
		}
		return b.countTables(server)
	})
}

// tablesRun is what a run of postTables was.
type tablesRun struct {
	readings                 int
	posting, merging         time.Duration
	service, azurite, client time.Duration // processor time while posting
	merged, azuriteMerged    time.Duration // and until all is merged
	rss                      int64
}

// postTables posts for a while, and waits until all is merged.
func (b *bench) postTables(server *azurite.Server, linger string) (r tablesRun, err error) {
	s, err := b.onTables(server.Account(), append(tablesEnv[:len(tablesEnv):len(tablesEnv)], linger)...)
	if err != nil {
		return r, err
	}
	defer func() { err = s.end(err) }()
	warm := tablesLoad(3 * time.Second)
	warm.begin = warm.begin.Add(-30 * 24 * time.Hour)
	if _, err := warm.run(s.URL); err != nil {
		return r, err
	}
	usage := func() (mine, its time.Duration, rss int64) {
		u, err1 := s.Usage()
		a, err2 := service.UsageOf(server.PID())
		err = errors.Join(err, err1, err2)
		return u.CPU(), a.CPU(), u.PeakRSS
	}
	mine, its, _ := usage()
	client, started := ownCPU(), time.Now()
	n, failure := tablesLoad(20 * time.Second).run(s.URL)
	if failure != nil {
		return r, failure
	}
	r.readings, r.posting, r.client = n, time.Since(started), ownCPU()-client
	posted, itsPosted, _ := usage()
	if err := s.AwaitMerged(b.ctx); err != nil {
		return r, err
	}
	r.merging = time.Since(started) - r.posting
	merged, itsMerged, rss := usage()
	r.service, r.azurite, r.merged, r.azuriteMerged, r.rss = posted-mine, itsPosted-its, merged-mine, itsMerged-its, rss
	return r, err
}

func (r tablesRun) print(before, after ceiling) {
	rows := (before.rate + after.rate) / 2
	rate := float64(r.readings) / r.posting.Seconds()
	perMillion := func(d time.Duration) float64 { return d.Seconds() / float64(r.readings) * 1e6 }
	fmt.Println("| Azurite alone: rows/s before | after | its CPU s per million rows | readings/s through HTTP (wall) | ÷ rows/s | Azurite's CPU s per million readings, posting | all merged | by CPU: readings ÷ rows | service's CPU s per million, posting | all merged | client's | merging the rest took | RSS at most |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	row := (before.cpu + after.cpu) / 2
	fmt.Printf("| %.0f | %.0f | %.1f | %.0f | %.1f | %.2f | %.2f | %.1f | %.2f | %.2f | %.2f | %.1f s | %d MiB |\n\n",
		before.rate, after.rate, row.Seconds()*1e6, rate, rate/rows, perMillion(r.azurite), perMillion(r.azuriteMerged),
		row.Seconds()*1e6/perMillion(r.azurite), perMillion(r.service), perMillion(r.merged), perMillion(r.client), r.merging.Seconds(), r.rss>>20)
}

// countTables posts for a while through a proxy that counts, and merges all.
func (b *bench) countTables(server *azurite.Server) (err error) {
	s, err := b.counted(server, server.Account(), tablesEnv...)
	if err != nil {
		return err
	}
	defer func() { err = s.end(err) }()
	s.proxy.Take()
	n, err := tablesLoad(12 * time.Second).run(s.URL)
	if err != nil {
		return err
	}
	if err := s.AwaitMerged(b.ctx); err != nil {
		return err
	}
	counts := s.proxy.Take()
	if counts.Total().RowsWritten == 0 {
		return errors.New("the readings did not reach Azurite")
	}
	printCounts(counts, float64(n)/1e6, "million readings")
	return nil
}

// printCounts prints counts by table, a unit each.
func printCounts(t counting.Tables, units float64, unit string) {
	fmt.Printf("| table | transactions and writes a %s | rows written | requests that read | rows read | refused |\n|---|---|---|---|---|---|\n", unit)
	line := func(name string, c counting.Counts) {
		per := func(n int) string { return thousands(float64(n) / units) }
		fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", name, per(c.Writes), per(c.RowsWritten), per(c.Reads), per(c.RowsRead), per(c.Refused))
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		line(name, t[name])
	}
	line("all", t.Total())
	fmt.Println()
}
