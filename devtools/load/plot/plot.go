// Package plot draws line charts as SVG files: both axes logarithmic or the
// horizontal one in even steps, a legend beside the lines, nothing that needs a
// script.
package plot

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// Series is a line: a value for each label of the chart. Values at or below 0
// are left out.
type Series struct {
	Name   string
	Values []float64
	Dashed bool
}

// Chart is a line chart with even steps along and a logarithmic scale up.
type Chart struct {
	Title, Along, Up string
	Labels           []string
	Series           []Series
}

const (
	width, height    = 760, 400
	left, right      = 70, 230 // right: the legend
	top, bottom      = 44, 52
	plotWide, plotUp = width - left - right, height - top - bottom
)

// colours can be told apart also by those who see few (Okabe and Ito).
var colours = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// SVG draws the chart.
func (c Chart) SVG() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	text(&b, left, 22, "start", 15, c.Title)
	text(&b, left+plotWide/2, height-10, "middle", 12, c.Along)
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+plotUp/2, html.EscapeString(c.Up))
	low, high := c.decades()
	for d := low; d <= high; d++ {
		y := c.y(math.Pow10(d), low, high)
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/>`+"\n", left, y, left+plotWide)
		text(&b, left-8, y+4, "end", 12, number(math.Pow10(d)))
	}
	for i, label := range c.Labels {
		text(&b, c.x(i), top+plotUp+18, "middle", 12, label)
	}
	for i, s := range c.Series {
		c.line(&b, s, colours[i%len(colours)], low, high)
		y := float64(top + 10 + 22*i)
		fmt.Fprintf(&b, `<path d="M%d %.1fh22" stroke="%s" stroke-width="2.5"%s/>`+"\n", left+plotWide+14, y, colours[i%len(colours)], s.dashes())
		text(&b, left+plotWide+42, y+4, "start", 12, s.Name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c Chart) line(b *bytes.Buffer, s Series, colour string, low, high int) {
	path, pen := "", "M"
	var dots bytes.Buffer
	for i, v := range s.Values {
		if v <= 0 {
			pen = "M"
			continue
		}
		x, y := c.x(i), c.y(v, low, high)
		path += fmt.Sprintf("%s%.1f %.1f", pen, x, y)
		pen = "L"
		fmt.Fprintf(&dots, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>%s, %s: %s</title></circle>`+"\n",
			x, y, colour, html.EscapeString(s.Name), html.EscapeString(c.Labels[i]), number(v))
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2.5"%s/>`+"\n", path, colour, s.dashes())
	b.Write(dots.Bytes())
}

func (s Series) dashes() string {
	if s.Dashed {
		return ` stroke-dasharray="6 4"`
	}
	return ""
}

// decades are the powers of ten that all values lie between.
func (c Chart) decades() (low, high int) {
	least, most := math.Inf(1), math.Inf(-1)
	for _, s := range c.Series {
		for _, v := range s.Values {
			if v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if math.IsInf(least, 1) {
		return 0, 1
	}
	low, high = int(math.Floor(math.Log10(least))), int(math.Ceil(math.Log10(most)))
	return low, max(high, low+1)
}

func (c Chart) x(i int) float64 {
	return left + (float64(i)+0.5)*plotWide/float64(len(c.Labels))
}

func (c Chart) y(v float64, low, high int) float64 {
	return top + plotUp*(1-(math.Log10(v)-float64(low))/float64(high-low))
}

func text(b *bytes.Buffer, x, y float64, anchor string, size int, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d">%s</text>`+"\n", x, y, anchor, size, html.EscapeString(s))
}

// number writes a value as short as it can be read.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3g k", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}
