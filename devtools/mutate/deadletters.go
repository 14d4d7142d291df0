package main

// letter is a mutant of the dead letters, caught by one of their tests in memory.
func letter(test, name, rule string, edits ...edit) mutant {
	return mutant{name: "deadletters/" + name, rule: rule, edits: edits, pkg: "./deadletters", test: "^" + test + "$"}
}

// letterMutants break what the dead letters, and queries behind a hub, promise.
var letterMutants = []mutant{
	letter("TestFaults", "kept-again", "an event is kept once, also when its letter is done", edit{"deadletters/row.go",
		`ops := []store.Op{{Kind: store.Insert, Key: i.key(), Properties: properties}}`,
		`ops := []store.Op{{Kind: store.Put, Key: i.key(), Properties: properties}}`}, edit{"deadletters/put.go",
		`there[row.Key] = true`,
		`_ = row`}),
	letter("TestFaults", "removed-when-done", "what is done is remembered", edit{"deadletters/row.go",
		`ops := []store.Op{{Kind: store.Replace, Key: i.key(), IfMatch: r.etag, Properties: []store.Property{
		{Name: "accepted", Value: int64(accepted)}, {Name: "format", Value: int64(format)},
		{Name: "parts", Value: int64(0)}, {Name: "received", Value: r.Received.UnixMilli()}, {Name: "state", Value: string(to)},
	}}}`,
		`ops := []store.Op{{Kind: store.Delete, Key: i.key(), IfMatch: r.etag}}`}),
	letter("TestWhileReplaying/dropped,_and_it_fails", "failed-over-dropped", "what was done first stays done", edit{"deadletters/store.go",
		`return []store.Op{{Kind: store.Touch, Key: i.key(), IfMatch: r.etag,`,
		`return []store.Op{{Kind: store.Touch, Key: i.key(), IfMatch: store.AnyTag,`}, edit{"deadletters/row.go",
		`{Name: "rejected", Value: int64(rejected)},`,
		`{Name: "rejected", Value: int64(rejected)}, {Name: "state", Value: ""},`}, edit{"deadletters/row.go",
		`{Name: "size", Value: int64(r.Size)}, {Name: "state", Value: string(r.state)},`,
		`{Name: "size", Value: int64(r.Size)},`}),
	letter("TestReplay", "partly-is-done", "a letter of which something fails again stays", edit{"deadletters/store.go",
		`if v.Reason == nil {`,
		`if v.Accepted > 0 {`}),
	letter("TestReplay", "judged-each-time", "a second replay changes nothing", edit{"deadletters/store.go",
		`		return Verdicts{Accepted: found.accepted}, nil
	case found.state != waiting:`,
		`		found.state = waiting
	case found.state != waiting:`}),
	letter("TestReplayOfWhatWasCut", "half-is-replayed", "half an event is another one", edit{"deadletters/store.go",
		`case found.Cut:`,
		`case found.Cut && found.Size < 0:`}),
	letter("TestIdentity", "bodies-do-not-count", "the id is the event's", edit{"deadletters/id.go",
		`	h.Write(body)
`, `	h.Write(body[:0])
`}),
	letter("TestIdentity", "hub-counts", "… and not that of who delivers it", edit{"deadletters/id.go",
		`	h.Write(body)
`, `	h.Write(body)
	h.Write([]byte(s.Hub))
`}),
	letter("TestRefusedRows", "poison-blocks", "nothing in an event keeps its letter out", edit{"deadletters/put.go",
		`case errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrTooLarge):`,
		`case errors.Is(err, store.ErrTooLarge):`}),
	letter("TestHostileTexts/memory", "texts-unbounded", "texts are bounded", edit{"deadletters/letter.go",
		`	if len(s) > most {`,
		`	if len(s) > most*1000 {`}),
	letter("TestCosts", "redelivery-writes", "a redelivery is one read", edit{"deadletters/put.go",
		`there[row.Key] = true`,
		`_ = row`}),
	letter("TestPurge/memory", "purged-by-the-hubs-time", "30 days after it was received", edit{"deadletters/purge.go",
		`if searched++; row.Int("received") <= upTo.UnixMilli() {`,
		`if searched++; upTo.UnixMilli() > 0 {`}),
	letter("TestPurge/memory", "bodies-stay", "with the parts of its body", edit{"deadletters/purge.go",
		`if i, ok := idOfKey(row.Key); ok {`,
		`if i, ok := idOfKey(row.Key); ok && row.Key == "" {`}),
	letter("TestPages/memory", "cursor-includes", "a page begins after its cursor", edit{"deadletters/list.go",
		`store.InPartition(i.partition(), store.After(i.key()), "")`,
		`store.InPartition(i.partition(), i.key(), "")`}),
	letter("TestPages/memory", "oldest-first", "newest first", edit{"deadletters/id.go",
		`maxMillis-i.millis, math.MaxInt64-i.sequence, i.hash)`,
		`maxMillis-i.millis, i.sequence, i.hash)`}, edit{"deadletters/id.go",
		`i := id{maxMillis - millis, math.MaxInt64 - sequence, hash}`,
		`i := id{maxMillis - millis, sequence, hash}`}),

	{name: "query/final-forgets-the-hub", rule: "final: what arrived in time is consumed", pkg: "./query", test: "^TestFinalWaitsForTheHub$",
		edits: []edit{{"query/aggregates.go", `limit = min(limit, q.consumed-1-int64(clockSkew))`, `limit = min(limit, q.consumed+int64(s.options.Lateness))`}}},
	{name: "query/unknown-is-consumed", rule: "final: nothing is where nobody knows", pkg: "./query", test: "^TestFinalWaitsForTheHub$",
		edits: []edit{{"query/aggregates.go", `q.consumed = 0 // no bucket is as old`, `q.consumed = q.now`}}},
	{name: "query/hub-asked-late", rule: "final: the hub is asked before the answer is read", pkg: "./query", test: "^TestTheHubIsAskedFirst$",
		edits: []edit{{"query/aggregates.go", `	s.askConsumed(c.Request().Context(), &q)
	var a answer
	err = s.answer(c.Request().Context(), func(ctx context.Context, view Reader) error {
`, `	var a answer
	err = s.answer(c.Request().Context(), func(ctx context.Context, view Reader) error {
		s.askConsumed(ctx, &q)
`}}},
}
