package fenced

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"sluice/store"
)

// FuzzPlace: a place that is read is written as it was, or means the same.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"", "//", "sluicejournal20261124/0003-00000012-0123456789abcdef/8", "sluicejournal20261124/0003-/+8", "sluicejournal2026112x/0003-1-a/8", "sluicejournal20261124/0003-1-a/65", "sluicejournal20261124/0004-1-a/1"} {
		f.Add(3, s)
	}
	f.Fuzz(func(t *testing.T, shard int, text string) {
		p, err := parsePlace(shard, text)
		if err != nil {
			return
		}
		again, err := parsePlace(shard, p.String())
		if err != nil || again != p || p.fences < 1 || p.fences > maxFences || !isJournalTable(p.table) {
			t.Fatalf("place %q of shard %d: %+v, then %+v, %v", text, shard, p, again, err)
		}
	})
}

// FuzzHead: a head that is read is written again with the same meaning.
func FuzzHead(f *testing.F) {
	f.Add(`[]`, []byte{}, int64(1))
	f.Add(`[{"number":12,"place":"sluicejournal20261124/0003-00000012-0123456789abcdef/8","opened":"2026-11-24T08:09:10.000000001Z"}]`, []byte("state"), int64(1))
	f.Add(`[{"number":18446744073709551615,"place":"sluicejournal20261124/0003-1-a/1","opened":"2026-11-24T08:09:10+02:00"}]`, []byte{0xFF}, int64(2))
	f.Add(`[{"number":-1,"place":"x","opened":7},null,{}]`, []byte(nil), int64(0))
	f.Fuzz(func(t *testing.T, epochs string, state []byte, format int64) {
		row := store.Row{ETag: "tag", Properties: []store.Property{{Name: "Epochs", Value: epochs}, {Name: "Format", Value: format}, {Name: "State", Value: state}}}
		head, err := decodeHead(3, row)
		if err != nil {
			return
		}
		op, err := headOp(head)
		if err != nil {
			return // more than may be written
		}
		row.Properties = op.Properties
		again, err := decodeHead(3, row)
		if err != nil || !slices.Equal(again.Epochs, head.Epochs) || !bytes.Equal(again.State, head.State) {
			t.Fatalf("head %+v, then %+v, %v", head, again, err)
		}
	})
}

// FuzzEntry: whatever key and data a row has, it is decoded or refused.
func FuzzEntry(f *testing.F) {
	f.Add("00017!0123456789abcdef-0000000001!02", []byte("data"), "Data00", int64(1))
	f.Add("!open0", []byte{}, "Format", int64(1))
	f.Add("x!y", []byte{1}, "Data", int64(9))
	f.Fuzz(func(t *testing.T, key string, data []byte, name string, format int64) {
		e, err := decodeEntry(store.Row{Key: key, Properties: []store.Property{{Name: name, Value: data}, {Name: "Format", Value: format}}})
		if err == nil && (!bytes.Equal(e.Data, data) || len(data) == 0) {
			t.Fatalf("row %q of %q decodes to %+v", key, data, e)
		}
	})
}

// TestEntryRows: what is written is read, at every size around a chunk's.
func TestEntryRows(t *testing.T) {
	for _, n := range []int{1, chunk - 1, chunk, chunk + 1, 2 * chunk, store.MaxEntry} {
		e := store.Entry{Bucket: n % (maxBucket + 1), Data: bytes.Repeat([]byte{1, 2, 3}, n)[:n]}
		op := entryOp(e, "commit", 7)
		if err := store.CheckOps(widest, []store.Op{op}); err != nil {
			t.Fatalf("entry of %d bytes: %v", n, err)
		}
		got, err := decodeEntry(store.Row{Key: op.Key, Properties: op.Properties})
		if err != nil || got.Bucket != e.Bucket || !bytes.Equal(got.Data, e.Data) || got.ID != "commit!07" {
			t.Fatalf("entry of %d bytes: read in bucket %d with id %q, %d bytes, %v", n, got.Bucket, got.ID, len(got.Data), err)
		}
	}
}

// TestHeadFits: the largest head that may be written is one that every store
// takes.
func TestHeadFits(t *testing.T) {
	head := store.Head{State: make([]byte, maxState), Version: "tag"}
	for range maxEpochs {
		p := place{table: tableOf(time.Now()), partition: widest, fences: maxFences}
		head.Epochs = append(head.Epochs, store.Epoch{Number: 1<<64 - 1, Place: p.String(), Opened: 1<<63 - 1})
	}
	op, err := headOp(head)
	if err == nil {
		err = store.CheckOps(partition(maxShard), []store.Op{op})
	}
	if err != nil {
		t.Fatal(err)
	}
}
