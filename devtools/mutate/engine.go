package main

// property is the test that catches a mutant of the engine: the one over both
// journals, with so many cases of each.
func property(cases int, name, rule string, edits ...edit) mutant {
	return mutant{
		name: "engine/" + name, rule: rule, edits: edits, pkg: "./engine", test: "^TestProperty$", cases: cases,
		args: []string{"-rapid.shrinktime=1s", "-timeout=4m"},
	}
}

// by is for a test of its own, where worlds come to it too seldom.
func by(test, name, rule string, edits ...edit) mutant {
	return mutant{name: "engine/" + name, rule: rule, edits: edits, pkg: "./engine", test: "^" + test + "$"}
}

// queued is for the test over instances that accept into a hub.
func queued(name, rule string, edits ...edit) mutant {
	m := by("TestQueueProperty", name, rule, edits...)
	m.cases = 400
	return m
}

// engineMutants break the rules of the blueprint, by their numbers.
var engineMutants = []mutant{
	property(300, "ignore-stamp", "1: the higher stamp wins", edit{"telemetry/block/merge.go",
		`return order(a.Stamps[i] < b.Stamps[j])`,
		`return order(a.Stamps[i] > b.Stamps[j])`}),
	property(1000, "tie-by-arrival", "1: of equal stamps the greater value wins", edit{"telemetry/block/merge.go",
		`if telemetry.Compare(a.Value(i), b.Value(j)) < 0 {`,
		`if true {`}),
	property(1000, "latest-ignores-stamp", "1, 6: stamps stay with their values, also in lists", edit{"engine/entry.go",
		"	if a.stamp != b.stamp {\n		return a.stamp > b.stamp\n	}\n",
		""}),
	property(1000, "hidden-tag-forgotten", "1, 7: what a deletion uncovers is there", edit{"engine/entry.go",
		`out[n-1].Stamp <= t.Stamp; n-- {`,
		`true; n-- {`}),

	property(300, "old-head", "2: the head is read after the query began",
		edit{"engine/view.go",
			`head, err := s.engine.journal.Head(ctx, s.shard)
		if err != nil {
			return nil, fmt.Errorf("read the head`,
			`head, err := s.engine.oldHead(ctx, s.shard)
		if err != nil {
			return nil, fmt.Errorf("read the head`},
		edit{"engine/view.go",
			"// deviceView is a device's tail",
			`var oldHeads sync.Map

func (e *Engine) oldHead(ctx context.Context, shard int) (store.Head, error) {
	head, err := e.journal.Head(ctx, shard)
	if err != nil {
		return head, err
	}
	if old, ok := oldHeads.Swap(fmt.Sprintf("%p %d", e, shard), head); ok {
		return old.(store.Head), nil
	}
	return head, nil
}

// deviceView is a device's tail`}),
	property(300, "list-before-tail", "2: head, tail, then lists and leaves", edit{"engine/view.go",
		`indexes, err := v.shard(shard).tail(ctx, bucket)
	if err != nil {
		return d, err
	}
	t := tailOf(indexes, id)
	e, listed, err := lists{v.engine.rows(shard), partition(shard)}.entry(ctx, id)
	if err != nil {
		return d, err
	}
`,
		`e, listed, err := lists{v.engine.rows(shard), partition(shard)}.entry(ctx, id)
	if err != nil {
		return d, err
	}
	indexes, err := v.shard(shard).tail(ctx, bucket)
	if err != nil {
		return d, err
	}
	t := tailOf(indexes, id)
`}),
	{
		name: "engine/gone-is-empty", rule: "2: an epoch that is gone and still named is an error", pkg: "./engine", test: "^TestLostEpoch$",
		edits: []edit{{"engine/view.go",
			`if slices.ContainsFunc(head.Epochs, func(e store.Epoch) bool { return e.Place == epoch.Place }) {`,
			`if slices.ContainsFunc(head.Epochs, func(e store.Epoch) bool { return false }) {`}},
	},
	property(300, "gone-is-an-error", "2: an epoch that is gone was merged", edit{"engine/view.go",
		`err = s.checkMerged(ctx, epoch)`,
		`err = fmt.Errorf("gone: %w", err)`}),
	property(300, "tail-cache-by-number", "2: what was decoded belongs to one epoch", edit{"engine/tail.go",
		`key := tailKey{epoch.Place, bucket}`,
		`key := tailKey{fmt.Sprint(epoch.Number), bucket}`}),
	by("TestLeafClosedUnderReader", "no-bound-check", "leaves that do not follow each other are read again", edit{"engine/leaves.go",
		`	if begun {
		return l.low == at
	}
	return l.low < at && at <= l.high`,
		`	return true`}),
	property(300, "split-in-two", "a leaf is closed or split in one transaction", edit{"engine/merge.go",
		`return block.Frame{}, w.add(ctx, ops)
	}`,
		`for _, op := range ops {
			if err := w.add(ctx, []store.Op{op}); err != nil {
				return fresh, err
			}
			if err := w.flush(ctx); err != nil {
				return fresh, err
			}
		}
		return block.Frame{}, nil
	}`}),
	by("TestLatestDeletedUnderReader", "deleted-latest-left-out", "a latest value that went while it was looked up may hide another", edit{"engine/view.go",
		`return nil, fmt.Errorf("look up %s of %s: %w", l.metric, id, ErrAgain)`,
		`continue`}),

	property(1000, "leaf-insert-blind", "3: insert-only if it was absent", edit{"engine/leaves.go",
		`ops[i] = store.Op{Kind: store.Insert, Key: closedKey(device, p.high)`,
		`ops[i] = store.Op{Kind: store.Put, Key: closedKey(device, p.high)`}),
	property(1000, "leaf-replace-blind", "3: else with If-Match", edit{"engine/leaves.go",
		`last.Kind, last.IfMatch = store.Replace, l.etag`,
		`last.Kind, last.IfMatch = store.Replace, store.AnyTag`}),
	by("TestMergeIntoLeafThatIsRemoved", "leaf-removed-blind", "3: also where a deletion leaves nothing", edit{"engine/merge.go",
		`store.Op{Kind: store.Delete, Key: l.key, IfMatch: l.etag}`,
		`store.Op{Kind: store.Delete, Key: l.key, IfMatch: store.AnyTag}`}),
	property(1000, "list-replace-blind", "3: pages of lists too", edit{"engine/list.go",
		`last.Kind, last.IfMatch = store.Replace, p.etag`,
		`last.Kind, last.IfMatch = store.Replace, store.AnyTag`}),
	property(1000, "list-insert-blind", "3: the first page too", edit{"engine/list.go",
		`last := store.Op{Kind: store.Insert, Key: p.key`,
		`last := store.Op{Kind: store.Put, Key: p.key`}),
	property(2000, "list-read-late", "3: a derived row is read before its sources", edit{"engine/merge.go",
		`	return m.list(ctx, pages, fresh, deleted)`,
		`	if pages, err = m.pages(ctx, ids); err != nil {
		return err
	}
	return m.list(ctx, pages, fresh, deleted)`}),
	property(300, "refused-is-done", "3: a refused write abandons the run", edit{"engine/merge.go",
		`if refused(err) || `,
		`if refused(err) {
		return nil
	}
	if `}),

	property(300, "merge-before-seal", "4: only sealed epochs are merged",
		edit{"engine/compact.go",
			`	for _, epoch := range sealed {
		if err := e.journal.Seal(ctx, shard, epoch); err != nil {
			return 0, false, fmt.Errorf("seal epoch %d of shard %d: %w", epoch.Number, shard, err)
		}
	}
`, ""},
		edit{"engine/compact.go",
			`	return merged, len(waiting) > len(sealed), e.moveHead(`,
			`	for _, epoch := range sealed {
		if err := e.journal.Seal(ctx, shard, epoch); err != nil {
			return 0, false, fmt.Errorf("seal epoch %d of shard %d: %w", epoch.Number, shard, err)
		}
	}
	return merged, len(waiting) > len(sealed), e.moveHead(`}),
	property(300, "head-first", "4: the head moves when all is durable", edit{"engine/compact.go",
		`	merged, err = e.mergeEpochs(ctx, shard, sealed)`,
		`	if err := e.moveHead(ctx, shard, head, sealed); err != nil {
		return 0, false, err
	}
	merged, err = e.mergeEpochs(ctx, shard, sealed)`}, edit{"engine/compact.go",
		`	return merged, len(waiting) > len(sealed), e.moveHead(ctx, shard, head, sealed)
`, `	return merged, len(waiting) > len(sealed), nil
`}),
	property(300, "list-partly-written", "4: … and the lists are", edit{"engine/merge.go",
		`	return m.list(ctx, pages, fresh, deleted)`,
		`	if len(deleted) == 0 && len(ids) > 1 {
		return m.list(ctx, pages, fresh[:1], deleted)
	}
	return m.list(ctx, pages, fresh, deleted)`}),
	property(300, "head-blind", "4: a head that changed must still name what was merged", edit{"engine/compact.go",
		`if len(again.Epochs) <= len(merged) || !slices.Equal(`,
		`if len(again.Epochs) <= len(merged) {
			return nil
		}
		if false && !slices.Equal(`}),
	property(1000, "skip-redo", "4: redoing an epoch writes its lists also where no leaf changed",
		edit{"engine/merge.go",
			`	if err := m.leaves(ctx, days); err != nil {
		return err
	}
`,
			`	wrote = false
	if err := m.leaves(ctx, days); err != nil {
		return err
	}
	if !wrote && len(days) > 0 && len(deleted) == 0 {
		return nil
	}
`},
		edit{"engine/merge.go",
			`	err := commit(ctx, w.table, w.shard, w.ops)
`,
			`	wrote = true
	err := commit(ctx, w.table, w.shard, w.ops)
`},
		edit{"engine/merge.go", `type writer struct {`, `var wrote bool

type writer struct {`}),
	property(300, "newest-merged-too", "4: an epoch that takes commits is not merged", edit{"engine/compact.go",
		`	waiting := head.Epochs[:len(head.Epochs)-1]`,
		`	waiting := head.Epochs`}, edit{"engine/compact.go",
		`		to.Epochs = head.Epochs[len(merged):]`,
		`		to.Epochs = head.Epochs[min(len(merged), len(head.Epochs)-1):]`}, edit{"engine/compact.go",
		`	for _, epoch := range sealed {`, `	for _, epoch := range sealed[:min(len(sealed), len(head.Epochs)-1)] {`}),

	property(300, "reader-ignores-listed-cut", "7: every read obeys the list's stamp", edit{"engine/view.go",
		`cut: max(e.cut, t.cut)}`,
		`cut: t.cut}`}),
	property(300, "reader-ignores-tail-cut", "7: a deletion in the tail counts", edit{"engine/view.go",
		`cut: max(e.cut, t.cut)}`,
		`cut: e.cut}`}),
	property(1000, "merge-ignores-listed-cut", "7: every merge obeys the list's stamp", edit{"engine/merge.go",
		`cut := max(t.cut, known.cut)`,
		`cut := t.cut`}),
	property(300, "no-refold", "7: what was hidden behind what is gone", edit{"engine/merge.go",
		`if slices.Contains(deleted, f.id) {`,
		`if false {`}),
	property(300, "no-fold-in-tail", "7: … also while the deletion is in the tail", edit{"engine/view.go",
		`if d.tail.cut > d.entry.cut || d.entry.folded {`,
		`if d.entry.folded {`}),
	property(300, "cut-forgotten", "7: the stamp stays for good, the highest wins", edit{"engine/entry.go",
		`cut: max(a.cut, b.cut), seen`,
		`cut: b.cut, seen`}, edit{"engine/merge.go",
		`fresh[i].cut = cut`,
		`fresh[i].cut = t.cut`}),
	property(300, "counter-for-stamp", "7: a deletion counts by its stamp, not by its coming", edit{"engine/tail.go",
		`	t.frame = t.frame.Above(t.cut)
`,
		`	if t.cut > 0 {
		t.frame = block.Frame{}
	}
`}),
	property(300, "cut-spares-its-own-stamp", "7: what is not above the stamp is gone", edit{"telemetry/block/select.go",
		`return s > stamp })`,
		`return s >= stamp })`}),

	by("TestFloorRowOnlyRises", "floor-falls", "8: the floor only rises", edit{"engine/floor.go",
		`if to := day(trusted-int64(retention)) * nanosPerDay; to > f.accepts() {`,
		`if to := day(now-int64(retention)) * nanosPerDay; to != f.accepts() {`}, edit{"engine/floor.go",
		`f.floor = f.accepts()
	}
	return f`,
		`f.floor = f.announced
	}
	return f`}),
	by("TestFloorSparesTheAcknowledged", "floor-without-notice", "8: what is acknowledged is merged before retention takes it", edit{"engine/floor.go",
		`if oldest > after+floorNotice {`,
		`if oldest > after-int64(24*time.Hour) {`}),
	by("TestFloorSparesTheAcknowledged", "floor-not-read-again", "8: nothing below what is announced is accepted, by any instance", edit{"engine/floor.go",
		`return age >= 0 && age < int64(floorFresh)`,
		`return age >= 0`}),
	by("TestFloorAfterAnAnnouncementOfTheFuture", "floor-held-up", "8: a clock that was ahead does not hold the floor up", edit{"engine/floor.go",
		`f.since, f.drained = min(f.since, now), min(f.drained, now) // else`,
		`f.drained = min(f.drained, now) // else`}),
	property(1000, "floor-follows-any-clock", "8: by at most the time that passed", edit{"engine/floor.go",
		`trusted := max(f.trusted-2*int64(floorGap), min(now, f.trusted+2*passed))`,
		`trusted := max(f.trusted, now, passed)`}),
	by("TestFloorBesideAClockOfTheFuture", "floor-follows-by-turns", "8: also where a clock of the future takes turns with a right one", edit{"engine/floor.go",
		`trusted := max(f.trusted-2*int64(floorGap), `,
		`trusted := max(f.trusted, `}),
	property(1000, "floor-passes-the-unmerged", "8: behind the oldest unmerged epoch", edit{"engine/retain.go",
		`raiseFloor(ctx, e.config, oldest)`,
		`raiseFloor(ctx, e.config, oldest*0)`}),
	by("TestNothingIsReadBelowTheFloor", "reader-ignores-floor", "8: nothing below it is read", edit{"engine/read.go",
		`span.From = max(span.From, floor, known.first)`,
		`span.From = max(span.From, min(floor, known.first), known.first)`}),
	by("TestNothingIsMadeBelowTheFloor", "merge-ignores-floor", "8: nothing below it is made", edit{"engine/merge.go",
		`if f.Len() == 0 || f.Times[0] >= floor {`,
		`if f.Len() == 0 || floor >= 0 {`}),
	queued("floor-forgets-the-hub", "8: the floor stays behind what waits in the hub", edit{"engine/floor.go",
		`if q.any || f.queued > 0 && now-f.queued < queueGap {`,
		`if q.any && now < queueGap {`}),
	queued("floor-follows-the-drained", "8: … and behind what was consumed and is not merged", edit{"engine/floor.go",
		`if oldest > after+floorNotice {`,
		`if oldest > min(after, f.since)+floorNotice {`}),
	by("TestFloorIsDrainedAfterTheQuestion", "drained-before-it-was-asked", "8: drained is a time after the hub was asked", edit{"engine/floor.go",
		`q := c.askQueue(ctx, row)
	next := row.next(c.Now().UnixNano(), oldest, q, c.Retention)`,
		`now := c.Now().UnixNano()
	q := c.askQueue(ctx, row)
	next := row.next(now, oldest, q, c.Retention)`}),
	queued("drained-of-an-earlier-rise", "8: each rise is waited for anew", edit{"engine/floor.go",
		`f.announced, f.since, f.drained = to, now, 0`,
		`f.announced, f.since = to, now`}),
	by("TestFloorWaitsForTheHub", "drained-without-notice", "8: what was accepted before all have heard of the rise is waited for", edit{"engine/floor.go",
		`min(q.upTo, now) > f.since+floorNotice {`,
		`min(q.upTo, now) > f.since {`}),
	queued("away-is-drained", "8: a hub that cannot be asked holds the floor up", edit{"engine/floor.go",
		`"error", err)
		return q
	}
	q.upTo`,
		`"error", err)
	}
	q.upTo`}),
	queued("hub-of-others-forgotten", "8: also for instances whose settings lack the hub", edit{"engine/floor.go",
		`if q.any || f.queued > 0 && now-f.queued < queueGap {`,
		`if q.any {`}),
	queued("queued-judged-as-new", "8: what was accepted is taken down to the floor itself", edit{"engine/floor.go",
		`return checkFloor(devices, e.floor.floor.Load())`,
		`return checkFloor(devices, e.Floor())`}),
	by("TestFloorWaitsForTheHub", "queued-never-refused", "8: … and not below", edit{"engine/floor.go",
		`return checkFloor(devices, e.floor.floor.Load())`,
		`return nil`}),
	by("TestQueuedIsHeldAgainstTheRow", "queued-by-the-floor-of-then", "8: … as it is now", edit{"engine/floor.go",
		`	if _, err := e.readFloor(ctx); err != nil {
		return err
	}
	return checkFloor(devices, e.floor`,
		`	return checkFloor(devices, e.floor`}),
	by("TestQueuedIsHeldAgainstTheRow", "queued-without-reading", "8: … which is read again each minute", edit{"engine/floor.go",
		`func (e *Engine) checkQueued(ctx context.Context, devices []block.Device) error {
	if err := e.RefreshFloor(ctx); err != nil {
		return err
	}
`,
		`func (e *Engine) checkQueued(ctx context.Context, devices []block.Device) error {
`}),
	by("TestFloorWaitsForAFirstEpoch", "floor-passes-a-first-epoch", "8: a shard may begin meanwhile", edit{"engine/retain.go",
		`oldest := e.now().UnixNano()`,
		`oldest := e.now().UnixNano() + int64(24*time.Hour)`}, edit{"engine/retain.go",
		`	"slices"
`, `	"slices"
	"time"
`}),
	by("TestFloorWaitsForTheHubOfOthers", "hub-noted-too-seldom", "8: an instance that has a hub says so in the row", edit{"engine/floor.go",
		` && next.queued-row.queued < int64(floorGap)
`, `
`}),
	by("TestFloorWaitsForTheHub", "hub-asked-for-ever", "a hub that does not answer does not hold up retention", edit{"engine/floor.go",
		`ctx, cancel := context.WithTimeout(ctx, askWithin)`,
		`ctx, cancel := context.WithCancel(ctx)`}),
	by("TestFloorRowBesideAClockOfTheFuture", "consumed-by-a-clock-of-the-future", "8: what another clock says is not believed beyond now", edit{"engine/floor.go",
		`min(q.upTo, now) > f.since`,
		`q.upTo > f.since`}),
	by("TestQueuedThatIsOvertaken", "queued-overtaken", "8: what the floor overtook is not acknowledged", edit{"engine/engine.go",
		`if late := check(ctx, devices); late != nil {`,
		`if late := e.RefreshFloor(ctx); late != nil {`}),
	property(1000, "day-dropped-early", "8: a table goes when its whole day lies below", edit{"engine/retain.go",
		`if (d+1)*nanosPerDay > floor {`,
		`if d*nanosPerDay > floor {`}),
	by("TestLeavesRemovedUnderReader", "vanished-is-empty", "8: a reader whose leaves vanish starts its page again", edit{"engine/read.go",
		`	if errors.Is(err, ErrAgain) {
		return r.vanished(ctx)
	}
`,
		`	if errors.Is(err, ErrAgain) {
		err = nil
	}
`}),

	property(300, "tail-one-page", "9: only an empty continuation ends a scan (reader)", edit{"engine/tail.go",
		`		token = page.Next
`,
		`		if token = page.Next; len(page.Entries) == 0 {
			break
		}
`}),
	property(300, "merge-one-page", "9: … (compactor)", edit{"engine/compact.go",
		`			token = page.Next
		}
	}
	return merged, e.mergeChunk(ctx, shard, &c)`,
		`			if token = page.Next; len(page.Entries) == 0 {
				break
			}
		}
	}
	return merged, e.mergeChunk(ctx, shard, &c)`}),
	by("TestEmptyPages", "days-one-page", "9: … (tables)", edit{"engine/retain.go",
		`		token = next
`,
		`		if token = next; len(tables) == 0 {
			break
		}
`}),
	by("TestEmptyPages", "leaves-one-page", "9: … (leaves)", edit{"engine/leaves.go",
		`		if token = next; token == "" {
			return at, nil
		}
	}
}`,
		`		if token = next; token == "" || len(leaves) == 0 {
			return at, nil
		}
	}
}`}),
	by("TestEmptyPages", "list-one-page", "9: … (lists)", edit{"engine/list.go",
		`if token = next; token == "" {`,
		`if token = next; true {`}),

	by("TestOtherAccounts", "unmarked-account-is-marked", "a store's account without its mark is another one", edit{"engine/accounts.go",
		`case absent(err) && id.made:`,
		`case absent(err) && id.made && i < 0:`}),
	by("TestOtherAccounts", "swapped-accounts", "accounts have an order", edit{"engine/accounts.go",
		`case m.index != account:`,
		`case m.index < 0:`}),
	by("TestFirstStartIsInterrupted", "marked-too-early", "accounts are all marked before the config row says so", edit{"engine/identity.go",
		`store.Property{Name: "made", Value: false},`,
		`store.Property{Name: "made", Value: true},`}),
	by("TestFirstStartIsInterrupted", "own-marks-are-foreign", "what another instance made meanwhile is this store's own", edit{"engine/identity.go",
		`if row, again := c.readConfig(ctx); again == nil {`,
		`if row, again := c.readConfig(ctx); again != nil {`}),
	property(300, "one-account-for-lists", "a shard's rows lie in its account", edit{"engine/view.go",
		`e, listed, err := lists{v.engine.rows(shard), partition(shard)}.entry(ctx, id)`,
		`e, listed, err := lists{v.engine.rows(0), partition(shard)}.entry(ctx, id)`}),
	by("TestRetentionInEveryAccount", "days-dropped-in-one-account", "8: … in every account", edit{"engine/retain.go",
		`for _, rows := range e.config.Accounts {`,
		`for _, rows := range e.config.Accounts[:1] {`}),
	by("TestCompactDueTogether", "no-rest", "what another instance merges is left alone", edit{"engine/due.go",
		`return age.Abs() < rest-min(rest/2, maxSlack)`,
		`return age.Abs() < 0`}),

	by("TestRefusedReadingsAreAlone", "refused-with-its-neighbours", "a row that is refused for good is refused alone", edit{"engine/refused.go",
		`	if len(rest) == 0 {
		for i := range devices {`,
		`	if len(rest) == 0 || len(devices) > 1 {
		for i := range devices {`}),
	by("TestStoreThatRefusesEverything", "everything-is-refused", "where everything is refused it is no reading's fault", edit{"engine/refused.go",
		`if len(smaller) > 2*maxRefused {`,
		`if len(smaller) > 2000*maxRefused {`}),
	by("TestDeviceThatCannotBeMerged", "unmergeable-is-dropped", "what cannot be merged stays in the journal", edit{"engine/refused.go",
		`	return e.carry(ctx, shard, floor, gatherDevice(ids[0], parts[ids[0]]))`,
		`	return nil`}),
	by("TestDeviceThatCannotBeMerged", "unmergeable-stops-its-shard", "… and holds up nobody", edit{"engine/refused.go",
		`case err == nil || !unmergeable(err):`,
		`case err == nil || unmergeable(err):`}),

	by("TestDeviceThatCannotBeMerged", "carried-whole", "what is carried over is cut where the store refuses it whole", edit{"engine/refused.go",
		`	if err := e.appendEntries(ctx, shard, entries); err != nil {`,
		`	if err := e.journal.Append(ctx, shard, entries); err != nil {`}),
	by("TestFloorOvertakesWhatIsRefusedInPart", "floor-forgotten-beside-refusals", "8: what the floor overtook is not acknowledged", edit{"engine/engine.go",
		`(err == nil || errors.As(err, &partly)) &&`,
		`(err == nil || errors.As(err, &partly) && false) &&`}),

	property(300, "unanswered-is-acknowledged", "journal: only what was answered with success is acknowledged", edit{"engine/engine.go",
		`	if err != nil && !errors.As(err, &partly) {
		return err`,
		`	if errors.Is(err, store.ErrNoAnswer) {
		return nil
	}
	if err != nil && !errors.As(err, &partly) {
		return err`}),
}
