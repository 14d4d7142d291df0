package store_test

import (
	"testing"

	"sluice/store"
)

func TestRowProperties(t *testing.T) {
	row := store.Row{Properties: []store.Property{
		{Name: "bytes", Value: []byte("b")}, {Name: "large", Value: "9007199254740993"}, {Name: "int", Value: int64(-3)},
		{Name: "none", Value: "x"}, {Name: "text", Value: "t"},
	}}
	for name, want := range map[string]int64{"int": -3, "large": 9007199254740993, "none": 0, "bytes": 0, "absent": 0} {
		if got := row.Int(name); got != want {
			t.Errorf("Int(%s) is %d, %d is right", name, got, want)
		}
	}
	if row.Text("text") != "t" || row.Text("int") != "" || row.Text("absent") != "" {
		t.Error("Text")
	}
	if string(row.Bytes("bytes")) != "b" || row.Bytes("text") != nil || row.Bytes("absent") != nil {
		t.Error("Bytes")
	}
	if row.Property("absent") != nil || row.Property("int") != int64(-3) {
		t.Error("Property")
	}
}
