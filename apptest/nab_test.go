package apptest

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/devtools/load/service"
)

// recordings is where the recordings of the Numenta Anomaly Benchmark lie, if
// they are there.
const recordings = "../../shared/data/nab"

func recording(t *testing.T, path string) []point {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Skipf("no recordings of the Numenta Anomaly Benchmark in %s: %v", recordings, err)
	}
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	device := strings.TrimSuffix(filepath.Base(path), ".csv")
	points := make([]point, 0, len(rows))
	for _, row := range rows[1:] {
		at, err := time.ParseInLocation(time.DateTime, row[0], time.UTC)
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		value, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		points = append(points, point{device, at.UnixNano(), value})
	}
	return points
}

// stream is a service to which points are posted, and what it must have by then.
type stream struct {
	fleet  fleet
	client service.Client
	tags   map[string]map[string]string // by device
	tagged map[string]bool
	memo   map[string]map[int64]*wanted // what was recomputed since the last post
}

func newStream(c service.Client) *stream {
	return &stream{fleet: fleet{}, client: c, tags: map[string]map[string]string{}, tagged: map[string]bool{}}
}

// recompute asks the fleet, once for the same.
func (s *stream) recompute(devices []string, from, to int64, step time.Duration) map[int64]*wanted {
	key := fmt.Sprint(devices, from, to, step)
	if s.memo[key] == nil {
		s.memo[key] = s.fleet.recompute(devices, from, to, step)
	}
	return s.memo[key]
}

// post sends points in arrays of n, in their order, and calls after each.
func (s *stream) post(t *testing.T, points []point, n int, encode func([]byte) ([]byte, string), after func(posted int)) {
	t.Helper()
	posted := 0
	for part := range slices.Chunk(points, n) {
		messages := make([]message, len(part))
		for i, p := range part {
			messages[i] = message{DeviceID: p.device, TS: instant(p.at), Metrics: map[string]float64{metric: p.value}}
			if !s.tagged[p.device] {
				messages[i].Tags, s.tagged[p.device] = s.tags[p.device], true
			}
		}
		post(t, s.client, messages, encode)
		s.add(part)
		posted++
		if after != nil {
			after(posted)
		}
	}
}

// add notes that points were accepted, in their order.
func (s *stream) add(points []point) {
	for _, p := range points {
		if s.fleet[p.device] == nil {
			s.fleet[p.device] = map[int64]float64{}
		}
		s.fleet[p.device][p.at] = p.value // the newest arrival wins
	}
	s.memo = map[string]map[int64]*wanted{}
}

func gzipped(body []byte) ([]byte, string) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body) // a bytes.Buffer takes all
	_ = w.Close()
	return out.Bytes(), "gzip"
}

func reversed(points []point) []point {
	back := slices.Clone(points)
	slices.Reverse(back)
	return back
}

// settings of a service that keeps everything and merges all the time.
var busy = []string{"SLUICE_RETENTION=forever", "SLUICE_MERGE=1s"}

// A recording posted in its order, then backward in small bodies: at every
// moment, with any part of it merged, an answer is the recomputation. On tables
// SLUICE_OUTAGES breaks the way to them (make soak: 3 times).
func TestRecording(t *testing.T) {
	points := recording(t, filepath.Join(recordings, "machine_temperature_system_failure.csv"))
	t.Run("embedded", func(t *testing.T) { testRecording(t, points, embedded(t), nil) })
	t.Run("tables", func(t *testing.T) {
		n := rounds(t, "SLUICE_OUTAGES", 0)
		if n == 0 {
			testRecording(t, points, onTables(t, ""), nil)
			return
		}
		way := newWay(t)
		end := breakNowAndThen(t, way, n)
		testRecording(t, points, onTables(t, way.Address()), outageErrors)
		end()
	})
}

func testRecording(t *testing.T, points []point, kept storage, excused []error) {
	p := start(t, kept, busy...)
	client, patience := patient(p.Client)
	s := newStream(client)
	q := ofDevice(points[0].device)
	compared := 0
	s.post(t, points, 500, nil, func(posted int) {
		if posted%10 == 0 {
			compared += s.checkAll(t, q)
		}
	})
	if len(points) != 22_695 || s.fleet.count() != 22_683 {
		t.Fatalf("the recording has %d rows, %d distinct: 22,695 and 22,683 are right", len(points), s.fleet.count())
	}
	compared += s.checkAll(t, q)
	s.post(t, reversed(points), 7, gzipped, func(posted int) {
		if posted%500 == 0 {
			compared += s.checkAll(t, q)
		}
	})
	compared += s.checkAll(t, q)
	if err := p.AwaitMerged(t.Context()); err != nil {
		t.Fatal(err)
	}
	compared += s.checkAll(t, q)
	if s.fleet.count() != 22_683 {
		t.Fatalf("%d distinct readings", s.fleet.count())
	}
	stop(t, p, excused...)
	p = start(t, kept, busy...)
	s.client = p.Client
	compared += s.checkAll(t, q)
	stop(t, p, excused...)
	t.Logf("%d buckets of 10 aggregates compared, %d calls refused", compared, patience.refused.Load())
}

// All recordings as a fleet.
func TestRecordedFleet(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordings, "*.csv"))
	if err != nil || len(files) == 0 {
		t.Skipf("no recordings of the Numenta Anomaly Benchmark in %s", recordings)
	}
	var all []point
	tags := map[string]map[string]string{}
	for _, file := range files {
		points := recording(t, file)
		device := points[0].device
		kind, sensor, _ := strings.Cut(device, "_")
		tags[device] = map[string]string{"kind": kind, "sensor": sensor}
		if kind == "machine" {
			delete(tags[device], "sensor")
		}
		all = append(all, points...)
	}
	// A fleet over many days is thousands of calls of Azurite: by default each
	// question is asked at one of four moments there (make soak: at all of them).
	every := rounds(t, "SLUICE_FLEET_EVERY", 4)
	// A body has readings of many devices.
	shuffle := rand.New(rand.NewPCG(9, 2026))
	shuffle.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	globs := []string{"speed_*", "*t4013*", "occupancy_6005,TravelTime_*,no-such-device", "machine_temperature_system_failure,speed_7578"}
	t.Run("embedded", func(t *testing.T) { testFleet(t, embedded(t), all, tags, globs, 1) })
	t.Run("tables", func(t *testing.T) { testFleet(t, onTables(t, ""), all, tags, globs, every) })
}

// A made fleet, for where the recordings are not: counters that begin again,
// large numbers with small differences, irregular times, repeats with other
// values.
func TestMadeFleet(t *testing.T) {
	dice := rand.New(rand.NewPCG(4, 2))
	var all []point
	tags := map[string]map[string]string{}
	begin := time.Date(2024, 2, 27, 22, 0, 0, 0, time.UTC).UnixNano()
	for i, device := range []string{"pump-1", "pump-10", "pump-2", "fan-1", "fan-2", "meter:7"} {
		tags[device] = map[string]string{"kind": strings.TrimRight(device, "-:0123456789"), "site": []string{"berlin", "bern"}[i%2]}
		if device == "meter:7" {
			delete(tags[device], "site")
		}
		at, counter := begin, 1e9
		for range 700 {
			at += int64(time.Second) * int64(1+dice.IntN(900))
			if counter += math.Floor(dice.Float64()*50) / 7; dice.IntN(60) == 0 {
				counter = dice.Float64() * 100
			}
			all = append(all, point{device, at, counter})
		}
	}
	dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, p := range all[:200] {
		all = append(all, point{p.device, p.at, p.value + 1})
	}
	onEach(t, func(t *testing.T, kept storage) {
		testFleet(t, kept, all, tags, []string{"pump-1,fan-*", "*-1*", "meter:7"}, 1)
	})
}

// testFleet posts points as they come and then backward, and asks for the fleet
// in all ways, at four moments: while it is merged, and when it is. globs are
// values of device=. At each moment one of every so many questions is asked.
func testFleet(t *testing.T, kept storage, all []point, tags map[string]map[string]string, globs []string, every int) {
	p := start(t, kept, busy...)
	s := newStream(p.Client)
	s.tags = tags
	questions := questionsOf(tags, globs)
	s.post(t, all, 500, nil, nil)
	compared, moment := 0, 0
	checkEach := func() {
		t.Helper()
		for i, q := range questions {
			if (i+moment)%every == 0 {
				compared += s.checkAll(t, q)
			}
		}
		moment++
	}
	checkEach()
	back := reversed(all)
	s.post(t, back[:len(back)/2], 70, gzipped, nil)
	checkEach()
	s.post(t, back[len(back)/2:], 700, gzipped, nil)
	checkEach()
	if err := p.AwaitMerged(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkEach()
	stop(t, p)
	t.Logf("%d questions, %d buckets of 10 aggregates compared", len(questions), compared)
}

func questionsOf(tags map[string]map[string]string, globs []string) []question {
	devices := slices.Sorted(maps.Keys(tags))
	each := map[string][]string{}
	for _, d := range devices {
		each[d] = []string{d}
	}
	questions := []question{ofFleet("", map[string][]string{"": devices}), ofFleet("groupBy=device", each)}
	for _, key := range tagKeys(tags) {
		questions = append(questions, ofFleet("groupBy=tag:"+key, grouped(tags, devices, key)))
		value := tags[devices[0]][key]
		for _, d := range devices {
			if v, ok := tags[d][key]; ok {
				value = v
			}
		}
		picked := selected(devices, func(d string) bool { return tags[d][key] == value })
		questions = append(questions, ofFleet("tag="+key+":"+value, map[string][]string{"": picked}))
	}
	for _, glob := range globs {
		picked := selected(devices, func(d string) bool { return matchesAny(glob, d) })
		own := map[string][]string{}
		for _, d := range picked {
			own[d] = []string{d}
		}
		questions = append(questions, ofFleet("device="+glob, map[string][]string{"": picked}), ofFleet("groupBy=device&device="+glob, own))
	}
	for _, d := range devices {
		questions = append(questions, ofDevice(d))
	}
	return questions
}

func tagKeys(tags map[string]map[string]string) []string {
	keys := map[string]bool{}
	for _, t := range tags {
		for key := range t {
			keys[key] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

func grouped(tags map[string]map[string]string, devices []string, key string) map[string][]string {
	groups := map[string][]string{}
	for _, d := range devices {
		group := key + " is null"
		if value, ok := tags[d][key]; ok {
			group = key + "=" + value
		}
		groups[group] = append(groups[group], d)
	}
	return groups
}

func selected(devices []string, keep func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(devices), func(d string) bool { return !keep(d) })
}

// matchesAny matches a list of patterns: path.Match has the same * where there
// is no slash.
func matchesAny(patterns, device string) bool {
	for pattern := range strings.SplitSeq(patterns, ",") {
		if ok, err := filepath.Match(pattern, device); err == nil && ok {
			return true
		}
	}
	return false
}
