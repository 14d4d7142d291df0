package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"sluice/devtools/azurite"
	"sluice/devtools/load/service"
)

// ceiling is what Azurite itself does with rows: inserted in transactions of
// 100 into fresh partitions, by the SDK and nothing of ours.
type ceiling struct {
	rate float64       // rows a second by the wall
	cpu  time.Duration // of Azurite's process, a row
}

// measureCeiling inserts for as long as that, over 4 connections: Azurite is one
// thread, more of them do not make it faster.
func measureCeiling(ctx context.Context, server *azurite.Server, length time.Duration) (ceiling, error) {
	client, err := aztables.NewServiceClientFromConnectionString(server.Account().ConnectionString(), nil)
	if err != nil {
		return ceiling{}, err
	}
	if _, err := client.CreateTable(ctx, "ceiling", nil); err != nil {
		return ceiling{}, err
	}
	before, err := service.UsageOf(server.PID())
	if err != nil {
		return ceiling{}, err
	}
	var rows, partition atomic.Int64
	errs := make(chan error, 4)
	started := time.Now()
	var writers sync.WaitGroup
	for range cap(errs) {
		writers.Go(func() {
			table := client.NewClient("ceiling")
			for time.Since(started) < length {
				if _, err := table.SubmitTransaction(ctx, hundred(partition.Add(1)), nil); err != nil {
					errs <- err
					return
				}
				rows.Add(100)
			}
		})
	}
	writers.Wait()
	took := time.Since(started)
	after, err := service.UsageOf(server.PID())
	if err != nil {
		return ceiling{}, err
	}
	select {
	case err := <-errs:
		return ceiling{}, fmt.Errorf("insert rows: %w", err)
	default:
	}
	n := rows.Load()
	return ceiling{float64(n) / took.Seconds(), (after.CPU() - before.CPU()) / time.Duration(n)}, nil
}

// hundred are inserts into a partition, of rows as a small block is one.
func hundred(partition int64) []aztables.TransactionAction {
	data := make([]byte, 160)
	actions := make([]aztables.TransactionAction, 100)
	for i := range actions {
		entity, _ := json.Marshal(map[string]any{ // of such values it cannot fail
			"PartitionKey": fmt.Sprintf("p%08d", partition), "RowKey": fmt.Sprintf("r%03d", i),
			"Data": data, "Data@odata.type": "Edm.Binary",
		})
		actions[i] = aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity}
	}
	return actions
}
