package tables_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"sluice/devtools/azurite"
	"sluice/store"
	"sluice/store/tables"
)

// BenchmarkCommit writes transactions of 100 rows into fresh partitions of
// Azurite: as this room does, and as aztables alone would, which is the
// measure. Azurite takes most of the time: look at allocations, and at a
// profile.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{100, 1000, 4000} {
		for _, who := range []string{"sluice", "aztables"} {
			for _, writers := range []int{1, 4} {
				b.Run(fmt.Sprintf("%s/bytes=%d/writers=%d", who, size, writers), func(b *testing.B) {
					a := azurite.ForTest(b).Account()
					s := open(b, a, tables.Options{})
					if err := s.CreateTable(b.Context(), "bench"); err != nil {
						b.Fatal(err)
					}
					commit := s.Commit
					if who == "aztables" {
						commit = alone(b, a)
					}
					commits(b, commit, size, writers)
				})
			}
		}
	}
}

type commit func(ctx context.Context, table, partition string, ops []store.Op) error

func commits(b *testing.B, do commit, size, writers int) {
	var ops []store.Op
	for i := range store.MaxOps {
		ops = append(ops, store.Op{Kind: store.Insert, Key: fmt.Sprintf("00007!k%03d", i), Properties: []store.Property{
			{Name: "Data00", Value: make([]byte, size)}, {Name: "Format", Value: int64(1)},
		}})
	}
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(writers)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(b.Context(), "bench", fmt.Sprint("p", n.Add(1)), ops); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N*store.MaxOps)/b.Elapsed().Seconds(), "rows/s")
}

// alone commits with aztables and nothing else.
func alone(b *testing.B, a azurite.Account) commit {
	c, err := aztables.NewServiceClientFromConnectionString(a.ConnectionString(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return func(ctx context.Context, table, partition string, ops []store.Op) error {
		var actions []aztables.TransactionAction
		for _, o := range ops {
			entity := aztables.EDMEntity{Entity: aztables.Entity{PartitionKey: partition, RowKey: o.Key}, Properties: map[string]any{
				"Data00": aztables.EDMBinary(o.Properties[0].Value.([]byte)), "Format": aztables.EDMInt64(o.Properties[1].Value.(int64)),
			}}
			text, err := json.Marshal(entity)
			if err != nil {
				return err
			}
			actions = append(actions, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: text})
		}
		_, err := c.NewClient(table).SubmitTransaction(ctx, actions, nil)
		return err
	}
}

// BenchmarkScan reads a page of 1,000 rows of 1 KB.
func BenchmarkScan(b *testing.B) {
	a := azurite.ForTest(b).Account()
	s := open(b, a, tables.Options{})
	if err := s.CreateTable(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	for i := range store.MaxPage / store.MaxOps {
		var ops []store.Op
		for k := range store.MaxOps {
			ops = append(ops, store.Op{Kind: store.Insert, Key: fmt.Sprintf("%d-%03d", i, k), Properties: []store.Property{{Name: "Data00", Value: make([]byte, 1000)}}})
		}
		if err := s.Commit(b.Context(), "bench", "p", ops); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("sluice", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := s.Scan(b.Context(), "bench", store.InPartition("p", "", ""), "")
			if err != nil || len(p.Rows) != store.MaxPage {
				b.Fatal(len(p.Rows), err)
			}
		}
	})
	c, err := aztables.NewServiceClientFromConnectionString(a.ConnectionString(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("aztables", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			filter := "PartitionKey eq 'p'"
			p, err := c.NewClient("bench").NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &filter}).NextPage(b.Context())
			if err != nil || len(p.Entities) != store.MaxPage {
				b.Fatal(len(p.Entities), err)
			}
			for _, text := range p.Entities {
				var e aztables.EDMEntity
				if err := json.Unmarshal(text, &e); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
