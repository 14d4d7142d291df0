package main

// fencedMutants break a clause each of the journal over rows.
var fencedMutants = []mutant{
	{
		name: "fenced/no-touch", rule: "a commit touches a fence",
		edits: []edit{{"store/fenced/append.go", `append([]store.Op{touch}, rows...)`,
			`append([]store.Op{touch}, rows...)[1:]`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/exists-unseen", rule: "a commit that is said to exist is done when it is read",
		edits: []edit{{"store/fenced/append.go", `		err = j.landed(ctx, shard, p, rows[0].Key)`,
			`		err = nil`}},
		pkg: "./store/fenced", test: "^TestExistingIsLookedFor$",
	},
	{
		name: "fenced/lost-head-is-done", rule: "that a head exists does not make a commit durable",
		edits: []edit{
			{"store/fenced/head.go", `fmt.Errorf("%w: %s", store.ErrStale, err.Error())`, `fmt.Errorf("%w: %w", store.ErrStale, err)`},
			{"store/fenced/append.go", `	case err == nil:
			return nil`, `	case err == nil, errors.Is(err, store.ErrExists):
			return nil`},
		},
		pkg: "./store/fenced", test: "^TestLoserOfFirstOpenAppends$",
	},
	{
		name: "fenced/fences-may-be-repeated", rule: "the fences' insert is sent once, so that no copy of it lands after the seal",
		edits: []edit{{"store/fenced/open.go", `	rows, once := j.rows(shard), store.Once(ctx)`,
			`	rows, once := j.rows(shard), ctx`}},
		pkg: "./store/fenced", test: "^TestConformanceTwins$",
	},
	{
		name: "fenced/fence-refused-is-data-refused", rule: "where a fence alone is refused too, no entry is at fault",
		edits: []edit{{"store/fenced/isolate.go", `	if err := j.commit(ctx, shard, nil); err != nil {
		return err
	}
`, ``}},
		pkg: "./store/fenced", test: "^TestAppendIsolates$",
	},
	{
		name: "fenced/half-is-lost", rule: "all entries but the refused are durable",
		edits: []edit{{"store/fenced/isolate.go", `	return j.isolate(ctx, shard, rows[half:], found)`,
			`	found.seen += len(rows) - half
	return nil`}},
		pkg: "./store/fenced", test: "^TestAppendIsolates$",
	},
	{
		name: "fenced/retries-multiply", rule: "what the store gave up is not tried again",
		edits: []edit{{"store/fenced/append.go", `		store.ErrThrottled, store.ErrUnavailable, store.ErrDenied,
`, ``}},
		pkg: "./store/fenced", test: "^TestAppendLeavesRetriesToTheStore$",
	},
	{
		name: "fenced/open-twice", rule: "the fences are inserted once",
		edits: []edit{{"store/fenced/open.go", `	err = rows.Commit(once, p.table, p.partition, insertFences(p))
	if !errors.Is(err, store.ErrTableNotFound) {`,
			`	err = rows.Commit(once, p.table, p.partition, insertFences(p))
	if errors.Is(err, store.ErrNoAnswer) {
		if err = rows.Commit(once, p.table, p.partition, insertFences(p)); errors.Is(err, store.ErrExists) {
			err = nil
		}
	}
	if !errors.Is(err, store.ErrTableNotFound) {`}},
		pkg: "./store/fenced", test: "^TestOpenUnanswered$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/name-unanswered", rule: "only fences whose insert was answered are named",
		edits: []edit{{"store/fenced/open.go", `	err = rows.Commit(once, p.table, p.partition, insertFences(p))
	if !errors.Is(err, store.ErrTableNotFound) {`,
			`	err = rows.Commit(once, p.table, p.partition, insertFences(p))
	if errors.Is(err, store.ErrNoAnswer) {
		err = nil
	}
	if !errors.Is(err, store.ErrTableNotFound) {`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/drop-by-clock", rule: "a table goes when every head has left it, not when its day is past",
		edits: []edit{{"store/fenced/epochs.go", `	oldest, err := j.oldestTable(ctx, shards)
`,
			`	oldest, err := tableOf(j.opts.Now()), error(nil)
`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/drop-other-shards", rule: "every head counts for a drop",
		edits: []edit{{"store/fenced/epochs.go", `	for shard := range shards {
		head, err := j.Head(ctx, shard)`,
			`	for shard := range 1 {
		head, err := j.Head(ctx, shard)`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/drop-headless", rule: "a shard without a head holds all tables",
		edits: []edit{{"store/fenced/epochs.go", `		if err != nil || len(head.Epochs) == 0 {
			return "", err
		}`,
			`		if err != nil {
			return "", err
		}`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/opener-goes-back", rule: "an opener never goes back behind the newest table",
		edits: []edit{{"store/fenced/open.go", `p.table = max(p.table, newest.table)`,
			`_ = newest`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/seal-first-fence-only", rule: "a seal deletes all fences",
		edits: []edit{{"store/fenced/epochs.go", `rows, ops := j.rows(shard), p.fenceOps(store.Delete, store.AnyTag)`,
			`rows, ops := j.rows(shard), p.fenceOps(store.Delete, store.AnyTag)[:1]`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/seal-partly-is-sealed", rule: "a seal that was begun is ended",
		edits: []edit{{"store/fenced/epochs.go", `	if !errors.Is(err, store.ErrNotFound) {
		return unlessGone(err)
	}`,
			`	if err != nil || err == nil {
		return unlessGone(err)
	}`}},
		pkg: "./store/fenced", test: "^TestSealPartly$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/seal-unanswered", rule: "a seal counts only if answered",
		edits: []edit{{"store/fenced/epochs.go", `	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) {
		return nil
	}
	return err
}

// Tail`,
			`	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) || errors.Is(err, store.ErrNoAnswer) {
		return nil
	}
	return err
}

// Tail`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/id-reused", rule: "an id names one content",
		edits: []edit{{"store/fenced/journal.go", `	j.commits++
`,
			`	j.commits = max(j.commits, 1)
`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/id-without-process", rule: "ids carry a nonce of the process",
		edits: []edit{{"store/fenced/journal.go", `return fmt.Sprintf("%s-%010x", j.process, j.commits)`,
			`return fmt.Sprintf("%016d-%010x", 0, j.commits)`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/two-transactions", rule: "fence and rows are one transaction",
		edits: []edit{{"store/fenced/append.go", `	err = j.rows(shard).Commit(ctx, p.table, p.partition, append([]store.Op{touch}, rows...))
`,
			`	if err = j.rows(shard).Commit(ctx, p.table, p.partition, []store.Op{touch}); err == nil {
		err = j.rows(shard).Commit(ctx, p.table, p.partition, rows)
	}
`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/ack-unanswered", rule: "only an answered commit is acknowledged",
		edits: []edit{{"store/fenced/append.go", `		case err == nil:
			return nil
`,
			`		case err == nil || errors.Is(err, store.ErrNoAnswer):
			return nil
`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/no-nonce", rule: "a partition is never used again",
		edits: []edit{{"store/fenced/open.go", `	nonce, err := j.nonce()
`,
			`	nonce, err := "0000000000000000", error(nil)
`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/head-blind", rule: "the head is written with If-Match",
		edits: []edit{{"store/fenced/head.go", `		op.Kind = store.Insert
	}`,
			`		op.Kind = store.Insert
	} else {
		op.IfMatch = store.AnyTag
	}`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/first-head-blind", rule: "the first head is insert-only",
		edits: []edit{{"store/fenced/head.go", `		op.Kind = store.Insert
`,
			`		op.Kind, op.IfMatch = store.Put, ""
`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/gone-is-empty", rule: "an epoch that is gone is told as gone",
		edits: []edit{{"store/fenced/epochs.go", `	if errors.Is(err, store.ErrTableNotFound) {
		return store.EntryPage{}, fmt.Errorf("%w: %w", store.ErrGone, err)
	}`,
			`	if errors.Is(err, store.ErrTableNotFound) {
		return store.EntryPage{}, nil
	}`}},
		pkg: "./store/fenced", test: "^TestDropTables$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/invent-epoch", rule: "commits go to the epoch that the head names",
		edits: []edit{{"store/fenced/open.go", `	head.Epochs = append(slices.Clone(head.Epochs), epoch)
`,
			`	head.Epochs = append(slices.Clone(head.Epochs), epoch)
	j.learn(shard, head)
`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/page-once", rule: "only an empty continuation ends a scan",
		edits: []edit{{"store/fenced/epochs.go", `page := store.EntryPage{Next: rows.Next}`,
			`page := store.EntryPage{}
	if len(rows.Rows) > 0 {
		page.Next = rows.Next
	}`}},
		pkg: "./store/fenced", test: "^TestInterleaved$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/tail-prefix", rule: "a bucket is not the beginning of another",
		edits: []edit{{"store/fenced/entries.go", `func bucketPrefix(bucket int) string { return fmt.Sprintf("%05d!", bucket) }`,
			`func bucketPrefix(bucket int) string { return fmt.Sprintf("%d!", bucket) }`}},
		pkg: "./store/fenced", test: "^TestConformance$/^Scan$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/reread-not-compared", rule: "the head that Open returns is the one it wrote",
		edits: []edit{{"store/fenced/open.go", `	if !slices.Equal(head.Epochs, written.Epochs) || string(head.State) != string(written.State) {`,
			`	if false {`}},
		pkg: "./store/fenced", test: "^TestOpenChangedSince$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/update-adds", rule: "Update names no other epochs",
		edits: []edit{{"store/fenced/head.go", `		if i < 0 {
			return fmt.Errorf("epoch`,
			`		if i < 0 {
			continue
		}
		if i < 0 {
			return fmt.Errorf("epoch`}},
		pkg: "./store/fenced", test: "^TestConformance$/^UpdateRefused$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
	{
		name: "fenced/newer-format-read", rule: "a newer format is refused",
		edits: []edit{{"store/fenced/head.go", `	case f > format:`,
			`	case f > format+1000:`}},
		pkg: "./store/fenced", test: "^TestNewerFormat$", args: []string{"-rapid.checks=250", "-rapid.shrinktime=1s", "-rapid.nofailfile"},
	},
}
