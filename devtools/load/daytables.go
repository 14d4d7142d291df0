package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/load/body"
	"sluice/devtools/load/service"
)

// dayOnTables asks for a day of a device that has sent a reading a minute,
// beside two others, for so many days, all merged: how long it takes, and what
// of it reaches the tables.
func (b *bench) dayOnTables() error {
	fmt.Println("| history | aggregates of a day, step 5m: requests | rows | median | 95% | 1,440 readings of a day: requests | rows | median | 95% |\n|---|---|---|---|---|---|---|---|---|")
	return b.withAzurite(func(server *azurite.Server) error {
		for _, days := range []int{1, 30, 90} {
			account := server.Account()
			from := time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
			if err := b.fill(account, days, from); err != nil {
				return err
			}
			row, err := b.askDay(server, account, from)
			if err != nil {
				return err
			}
			fmt.Printf("| %d days |%s\n", days, row)
		}
		return nil
	})
}

// fill posts days of history that end with the day from, and merges them.
func (b *bench) fill(account azurite.Account, days int, from time.Time) (err error) {
	s, err := b.onTables(account, "SLUICE_MERGE=1s")
	if err != nil {
		return err
	}
	defer func() { err = s.end(err) }()
	l := load{connections: 1, devices: 3, each: 1440, interval: time.Minute, begin: from.AddDate(0, 0, 1-days), readings: 3 * 1440 * days}
	if _, err := l.run(s.URL); err != nil {
		return err
	}
	return s.AwaitMerged(b.ctx)
}

// askDay returns the cells of a row: requests and rows through a proxy that
// counts, times without it.
func (b *bench) askDay(server *azurite.Server, account azurite.Account, from time.Time) (row string, err error) {
	direct, err := b.onTables(account, "SLUICE_MERGE=1h")
	if err != nil {
		return "", err
	}
	defer func() { err = direct.end(err) }()
	counted, err := b.counted(server, account, "SLUICE_MERGE=1h")
	if err != nil {
		return "", err
	}
	defer func() { err = counted.end(err) }()
	for _, q := range dayQueries(from) {
		const times = 200
		var took []time.Duration
		for range times {
			started := time.Now()
			if err := b.askOnce(direct.Process, q); err != nil {
				return "", err
			}
			took = append(took, time.Since(started))
		}
		counted.proxy.Take()
		for range 10 {
			if err := b.askOnce(counted.Process, q); err != nil {
				return "", err
			}
		}
		slices.Sort(took)
		c := counted.proxy.Take().Total()
		row += fmt.Sprintf(" %.1f | %.1f | %s | %s |", float64(c.Requests())/10, float64(c.RowsRead)/10, milli(at(took, 0.5)), milli(at(took, 0.95)))
	}
	return row, nil
}

func (b *bench) askOnce(s *service.Process, q dayQuery) error {
	var answer json.RawMessage
	if err := s.Get(b.ctx, q.path, q.values, &answer); err != nil {
		return err
	}
	if n := strings.Count(string(answer), q.mark); n != q.count {
		return fmt.Errorf("GET %s: %d times %s, want %d: %.300s", q.path, n, q.mark, q.count, answer)
	}
	return nil
}

// dayQuery is a query of a day and how often its answer holds a mark.
type dayQuery struct {
	path   string
	values url.Values
	mark   string
	count  int
}

func dayQueries(from time.Time) []dayQuery {
	span := func(more url.Values) url.Values {
		more.Set("from", from.Format(time.RFC3339))
		more.Set("to", from.Add(24*time.Hour).Format(time.RFC3339))
		return more
	}
	path := "/api/v1/devices/" + body.Device(1)
	return []dayQuery{
		{path + "/aggregates", span(url.Values{"metric": {"temperature"}, "step": {"5m"}, "agg": {"avg,min,max"}}), `"count":5`, 288},
		{path + "/readings", span(url.Values{"limit": {"2000"}}), `"ts"`, 1440},
	}
}
