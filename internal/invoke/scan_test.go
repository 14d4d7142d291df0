package invoke

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// texts are JSON and what is none.
var texts = []string{
	`{}`, `[]`, `""`, `0`, `null`, ` { "a" : [ 1 , 2 ] , "b" : {} } `, `{"a":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00"}`, `"\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`,
	`"\ude00\ud83d\ude00"`, `"äö€😀"`, `{"a":{"b":"}]\\\""}}`, `[-1.5e+3,true,false,null]`, `{"a":1,"a":2}`,
	"", " ", `{`, `[`, `"`, `"\`, `"\u12`, `"\u12g4"`, `"\x"`, "\"\n\"", `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[1 2]`, `{1:2}`, `[}`, `{"a":1]`, `1 2`, `tru`, `{} x`,
	strings.Repeat("[", 1<<20), `"` + strings.Repeat(`\ud83d\ude00`, 10000) + `"`,
}

// value reads a text by the scanner's own means, objects and arrays part by part.
func value(s scanner) (any, error) {
	first, err := s.next()
	switch {
	case err != nil:
		return nil, err
	case first == '{':
		o := map[string]any{}
		err := s.object(func(name string) (err error) {
			o[name], err = parsed(s.raw(1 << 20))
			return err
		})
		return o, errors.Join(err, s.end())
	case first == '[':
		a := []any{}
		err := s.array(func() error {
			v, err := parsed(s.raw(1 << 20))
			a = append(a, v)
			return err
		})
		return a, errors.Join(err, s.end())
	case first == '"':
		text, _, err := s.string(1 << 20)
		return text, errors.Join(err, s.end())
	}
	v, err := parsed(s.raw(1 << 20))
	return v, errors.Join(err, s.end())
}

func parsed(raw json.RawMessage, err error) (v any, _ error) {
	if err != nil {
		return nil, err
	}
	return v, json.Unmarshal(raw, &v)
}

// agree wants the same of a text as encoding/json, however it comes.
func agree(t *testing.T, text string) {
	t.Helper()
	var want any
	wrong := json.Unmarshal([]byte(text), &want)
	for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
		got, err := value(newScanner(r))
		if (err == nil) != (wrong == nil) {
			t.Fatalf("%.60q: %v, encoding/json says %v", text, err, wrong)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%.60q: %#v, want %#v", text, got, want)
		}
	}
}

func TestScanner(t *testing.T) {
	for _, text := range texts {
		agree(t, text)
	}
}

// What is too long is passed over, to the byte.
func TestScannerPassesOver(t *testing.T) {
	for _, long := range []string{`"` + strings.Repeat(`\"`, 100) + `"`, `[[1,2],{"a":"]"}]`, `{"a":"}"}`, `123456`, `false`} {
		s := newScanner(strings.NewReader(`[` + long + ` , "next"]`))
		var got []string
		err := s.array(func() error {
			raw, err := s.raw(4)
			got = append(got, string(raw))
			return err
		})
		if err != nil || len(got) != 2 || got[0] != "" || got[1] != "" {
			t.Errorf("%s: %q, %v", long, got, err)
		}
	}
	s := newScanner(strings.NewReader(`"12345" 7`))
	if text, whole, err := s.string(4); text != "1234" || whole || err != nil {
		t.Error(text, whole, err)
	}
	if raw, err := s.raw(4); string(raw) != "7" || err != nil {
		t.Errorf("%s, %v", raw, err)
	}
}

// FuzzScanner holds the scanner to encoding/json. Texts that are not UTF-8 are
// beside the point: the host writes UTF-8.
func FuzzScanner(f *testing.F) {
	for _, text := range texts[:len(texts)-2] {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 1<<12 && strings.ToValidUTF8(text, "") == text && !strings.Contains(text, ",") {
			agree(t, text)
		}
	})
}
