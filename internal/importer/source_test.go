package importer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines reads text as a source does: a line for each record or refused line.
func lines(t *testing.T, text, name string, c Config) []string {
	t.Helper()
	got, err := read(text, name, c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func read(text, name string, c Config) (got []string, err error) {
	in, err := openInput("-", strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	src, err := newSource(in, name, c)
	if err != nil {
		return nil, err
	}
	for {
		r, err := src.next()
		var bad *lineError
		switch {
		case errors.Is(err, io.EOF):
			return got, nil
		case errors.As(err, &bad):
			got = append(got, "! "+bad.Error())
		case err != nil:
			return got, err
		default:
			got = append(got, fmt.Sprintf("%d %s", r.line, r.json))
		}
	}
}

func TestCSV(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		mapping Mapping
		want    []string
	}{
		"NAB": {
			"timestamp,value\n2013-12-02 21:15:00,73.96732207\n2013-12-02 21:20:00,74.93588199999998\n",
			Mapping{Device: "machine-temp", Metrics: []string{"value=temperature"}},
			[]string{
				`2 {"deviceId":"machine-temp","ts":"2013-12-02T21:15:00Z","metrics":{"temperature":73.96732207}}`,
				`3 {"deviceId":"machine-temp","ts":"2013-12-02T21:20:00Z","metrics":{"temperature":74.93588199999998}}`,
			},
		},
		"all columns, all kinds of values": {
			"\ufeffTime , Device_ID,a,b,c,\"d,e\"\r\n1700000000.25,p-1, 1 ,TRUE,OK,\r\n1700000001,p-2,,NaN,null,\"say \"\"hi\"\"\"\r\n",
			Mapping{},
			[]string{
				`2 {"deviceId":"p-1","ts":1700000000.25,"metrics":{"a":1,"b":true,"c":"OK"}}`,
				`3 {"deviceId":"p-2","ts":1700000001,"metrics":{"d,e":"say \"hi\""}}`,
			},
		},
		"named columns": {
			"when;who;x=y;z\n2026-01-02T03:04:05+01:00;p;7;8\n",
			Mapping{DeviceColumn: "who", TimeColumn: "when", Metrics: []string{"x=y", "z=x=y"}, Delimiter: ';'},
			[]string{"! two columns would be the metric \"x=y\""},
		},
		"names with =": {
			"ts,x=y,z\n1,7,8\n", Mapping{Device: "p", Metrics: []string{"x=y=a", "z=b=c"}},
			[]string{`2 {"deviceId":"p","ts":1,"metrics":{"a":7,"b=c":8}}`},
		},
		"no such column": {
			"ts,a\n1,7\n", Mapping{Device: "p", Metrics: []string{"b=c=d"}},
			[]string{`! header: no column is called "b"; there are: ts, a`},
		},
		"text stays text": {
			"ts,code,n\n1,007,007\n",
			Mapping{Device: "p", Text: []string{"code"}},
			[]string{`2 {"deviceId":"p","ts":1,"metrics":{"code":"007","n":7}}`},
		},
		"bad lines are told and the good ones kept": {
			"ts,v\n1,1\n2\n3,3,3\n,4\nnever,5\n6,a\"b\n7,7\n\n9,\"x\ny\"\n11,11\n12,\xff\n2026-02-30,1\n",
			Mapping{Device: "p"},
			[]string{
				`2 {"deviceId":"p","ts":1,"metrics":{"v":1}}`,
				`! line 3: 1 columns, the header has 2`,
				`! line 4: 3 columns, the header has 2`,
				`! line 5: no time: sent again, the reading would be another one`,
				`! line 6: time "never": takes RFC 3339, 2006-01-02 15:04:05 (UTC without a zone), or a Unix number`,
				`! line 7: bare " in non-quoted-field`,
				`8 {"deviceId":"p","ts":7,"metrics":{"v":7}}`,
				`10 {"deviceId":"p","ts":9,"metrics":{"v":"x\ny"}}`,
				`12 {"deviceId":"p","ts":11,"metrics":{"v":11}}`,
				`! line 13: column 2: jsontext: invalid UTF-8`,
				`! line 14: time "2026-02-30": takes RFC 3339, 2006-01-02 15:04:05 (UTC without a zone), or a Unix number`,
			},
		},
		"a row without a value": {"ts,v\n1,\n", Mapping{Device: "p"}, []string{"2 "}},
		"a quote that does not end": {
			"ts,v\n1,1\n2,\"x\n3,3\n",
			Mapping{Device: "p"},
			[]string{`2 {"deviceId":"p","ts":1,"metrics":{"v":1}}`, `! line 3: to line 4: extraneous or missing " in quoted-field`},
		},
		"nothing":           {"", Mapping{Device: "p"}, []string{"! empty, takes a line with the columns' names first"}},
		"no time":           {"a,b\n", Mapping{Device: "p"}, []string{"! header: no column is called timestamp or ts or time; name it with --time-column, one of: a, b"}},
		"no device":         {"ts,b\n", Mapping{}, []string{"! header: no column is called deviceid or device_id or device; name it with --device-column (or --device), one of: ts, b"}},
		"no metric":         {"ts\n", Mapping{Device: "p"}, []string{"! header: no column is left to be a metric"}},
		"twice":             {"ts,a,a\n", Mapping{Device: "p"}, []string{`! header: two columns are called "a"`}},
		"the same metric":   {"ts,a,b\n", Mapping{Device: "p", Metrics: []string{"a=x", "b=x"}}, []string{`! two columns would be the metric "x"`}},
		"device and column": {"ts,a,b\n", Mapping{Device: "p", DeviceColumn: "a"}, []string{"! --device and --device-column exclude each other"}},
		"not UTF-8":         {"ts,\xb0C\n", Mapping{Device: "p"}, []string{`! header: column 2 is not UTF-8: "\xb0C"`}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(c.text, "x.csv", Config{Format: "csv", Mapping: c.mapping})
			if err != nil {
				got = append(got, "! "+err.Error())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCells(t *testing.T) {
	for cell, want := range map[string]string{
		"0": "0", "-0": "-0", "1.50": "1.50", "9007199254740993": "9007199254740993", "1e3": "1e3", "1E+3": "1E+3", "-2.5e-7": "-2.5e-7",
		"+1": "1", ".5": "0.5", "-.5": "-0.5", "1.": "1", "007": "7", "-007.10": "-7.10", "00": "0", "0.": "0", "1.e5": "1e5",
		"true": "true", "False": "false", " 7 ": "7",
		"OK": `"OK"`, "-": `"-"`, "+": `"+"`, ".": `"."`, "e5": `"e5"`, "-+5": `"-+5"`, "0x10": `"0x10"`, "1_000": `"1_000"`, "1,5": `"1,5"`, "1 2": `"1 2"`, "٣": `"٣"`, "12:30": `"12:30"`,
		"": "", "  ": "", "NaN": "", "-inf": "", "+Infinity": "", "NULL": "",
	} {
		got, kind, err := appendCell(nil, cell, false)
		if string(got) != want || err != nil || (kind == cellValue) != (want != "") {
			t.Errorf("%q: %s (%v, %v), want %s", cell, got, kind, err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-23T04:00:00Z": `"2026-11-23T04:00:00Z"`, "2026-11-23T04:00:00.000000001+02:00": `"2026-11-23T02:00:00.000000001Z"`,
		"2026-11-23 04:00:00": `"2026-11-23T04:00:00Z"`, "2026-11-23 04:00:00.5": `"2026-11-23T04:00:00.5Z"`, "2026-11-23 04:00": `"2026-11-23T04:00:00Z"`,
		"2026-11-23": `"2026-11-23T00:00:00Z"`, "2026-11-23T04:00:00": `"2026-11-23T04:00:00Z"`, "2026-11-23 04:00:00+01:00": `"2026-11-23T03:00:00Z"`,
		"1700000000": "1700000000", "1700000000123456789": "1700000000123456789", "-1.5": "-1.5",
	} {
		if got, err := appendTime(nil, text); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "now", "2026-02-30", "2026-11-23T04:00:60Z", "23.11.2026", "11/23/2026", "10000-01-01T00:00:00Z", "+1", "0x1"} {
		if got, err := appendTime(nil, text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestNDJSON(t *testing.T) {
	text := `{"deviceId":"a","ts":1,"metrics":{"v":1}}

 {"ts":2,"deviceId":"b","values":{"v":2}}
{"deviceId":"a","metrics":{"v":1}}
{"deviceId":"a","ts":null,"metrics":{"v":1}}
{"ts":3,"metrics":{"v":1}}
[{"ts":3}]
{"deviceId":"a","ts":4,"ts":5}
{"deviceId":"a","ts":4} {}
{"deviceId":"a","ts":4
{"deviceId":"a","ts":9,"metrics":{"v":1}}`
	want := []string{
		`1 {"deviceId":"a","ts":1,"metrics":{"v":1}}`,
		`3 {"ts":2,"deviceId":"b","values":{"v":2}}`,
		`! line 4: no ts: sent again, the reading would be another one`,
		`! line 5: no ts: sent again, the reading would be another one`,
		`! line 6: no deviceId; --device names one for all lines`,
		`! line 7: not a JSON object`,
		`! line 8: not JSON:`,
		`! line 9: not JSON: something follows the object`,
		`! line 10: not JSON:`,
		`11 {"deviceId":"a","ts":9,"metrics":{"v":1}}`,
	}
	got := lines(t, text, "x.ndjson", Config{})
	for i := range got {
		if at := strings.Index(got[i], "not JSON: json"); at > 0 {
			got[i] = got[i][:at+len("not JSON:")] // the rest is the library's
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := lines(t, `{"ts":3,"v":1}`, "-", Config{Mapping: Mapping{Device: "p"}}); len(got) != 1 || got[0] != `1 {"ts":3,"v":1}` {
		t.Error(got)
	}
	if _, err := read("{}", "x.ndjson", Config{Mapping: Mapping{TimeColumn: "ts"}}); err == nil {
		t.Error("took a mapping of columns")
	}
}

func TestGzipIsToldByItsBytes(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, "ts,v\n1,2\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, packed.String(), "x.csv", Config{Mapping: Mapping{Device: "p"}}); len(got) != 1 {
		t.Error(got)
	}
	if _, err := read(packed.String()[:packed.Len()-5], "x.csv", Config{Mapping: Mapping{Device: "p"}}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("a cut file:", err)
	}
}

// endless is a file that never ends and has no end of line after its head.
type endless struct {
	head io.Reader
	read int
}

func (e *endless) Read(b []byte) (int, error) {
	n, err := e.head.Read(b)
	if err != nil {
		for n = range b {
			b[n] = 'x'
		}
	}
	e.read += n
	return n, nil
}

func TestMemoryIsBounded(t *testing.T) {
	for name, head := range map[string]string{"x.csv": "ts,v\n1,1\n2,\"x", "y.csv": "ts,v\n1,1\n2,x", "header.csv": "ts,"} {
		file := &endless{head: strings.NewReader(head)}
		in, err := openInput("-", file)
		if err != nil {
			t.Fatal(err)
		}
		src, err := newSource(in, name, Config{Mapping: Mapping{Device: "p"}})
		for err == nil {
			_, err = src.next()
		}
		if !errors.Is(err, errLongRecord) || file.read > 4*maxLine {
			t.Errorf("%s: %v after %d bytes", name, err, file.read)
		}
	}
}

func TestLongLineOfNDJSONIsRefusedAlone(t *testing.T) {
	good := `{"deviceId":"a","ts":1}` + "\n"
	long := `{"deviceId":"a","ts":1,"x":"` + strings.Repeat("y", maxLine) + `"}` + "\n"
	short := `{"deviceId":"a","ts":1,"x":"` + strings.Repeat("y", maxLine-100) + `"}` + "\n"
	got := lines(t, good+long+good+short+good+strings.TrimSuffix(long, "\n"), "x.ndjson", Config{})
	want := []bool{true, false, true, true, true, false}
	if len(got) != len(want) {
		t.Fatal(len(got))
	}
	for i, ok := range want {
		if ok != (got[i][0] != '!') || !ok && got[i] != fmt.Sprintf("! line %d: longer than %d bytes", i+1, maxLine) {
			t.Errorf("line %d: %.60s", i+1, got[i])
		}
	}
}

// FuzzCSV holds that whatever a file has in it, every record is a message with
// a device and a time, and lines only go up.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{
		"timestamp,value\n2013-12-02 21:15:00,73.96\n", "ts,deviceId,a,b\n1,p,x,\n2,q,1,true\n", "ts,v\n1,\"a\nb\"\n2,\"", "ts;v\n1;2\n",
		"\ufeffts,v\r\n1,1\r\n", "{\"ts\":1,\"deviceId\":\"a\"}\n", "[1]\n{}\n", "ts,v\n1,\xff\n", "\x1f\x8b\x08\x00", "ts,=\n1,NaN\n", "ts,a=a\n1,+.5e3\n",
	} {
		f.Add(seed, "", "")
		f.Add(seed, "dev", "v=x")
	}
	f.Fuzz(func(t *testing.T, text, device, metric string) {
		c := Config{Mapping: Mapping{Device: device}}
		if metric != "" {
			c.Mapping.Metrics = []string{metric}
		}
		in, err := openInput("-", strings.NewReader(text))
		if err != nil {
			return
		}
		src, err := newSource(in, "-", c)
		if err != nil {
			return
		}
		for last := 0; ; {
			r, err := src.next()
			var bad *lineError
			if errors.As(err, &bad) {
				if bad.line <= last {
					t.Fatalf("line %d after %d", bad.line, last)
				}
				last = bad.line
				continue
			}
			if err != nil {
				return
			}
			if r.line <= last {
				t.Fatalf("line %d after %d", r.line, last)
			}
			last = r.line
			var message map[string]json.RawMessage
			if r.json == nil {
				continue
			}
			if err := json.Unmarshal(r.json, &message); err != nil || message["ts"] == nil || device == "" && message["deviceId"] == nil || bytes.ContainsAny(r.json, "\n") {
				t.Fatalf("%s: %v", r.json, err)
			}
		}
	})
}
