package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func elements(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	found, d := map[string]int{}, xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok {
			found[e.Name.Local]++
		}
	}
}

// A chart is well-formed whatever its names hold, has a dot for each value, and
// lies within its axes.
func TestSVG(t *testing.T) {
	c := Chart{Title: "a < b & c", Labels: []string{"1", "10", "100"}, Series: []Series{
		{Name: `"quoted" <line>`, Values: []float64{1, 30, 500}},
		{Name: "with a gap", Values: []float64{0.2, 0, 7}, Dashed: true},
	}}
	svg := c.SVG()
	if n := elements(t, svg)["circle"]; n != 5 {
		t.Errorf("%d dots in %s", n, svg)
	}
	low, high := c.decades()
	if low != -1 || high != 3 {
		t.Errorf("from 10^%d to 10^%d", low, high)
	}
	if y := c.y(0.1, low, high); y != top+plotUp {
		t.Errorf("the least lies at %v", y)
	}
	if y := c.y(1000, low, high); y != top {
		t.Errorf("the most lies at %v", y)
	}
}

func TestEmptyChart(t *testing.T) {
	elements(t, Chart{Labels: []string{"1"}, Series: []Series{{Name: "nothing", Values: []float64{0}}}}.SVG())
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0.0123: "0.0123", 1: "1", 1000: "1 k", 999: "999", 12345: "12.3 k", 4e6: "4 M"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
