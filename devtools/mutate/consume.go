package main

// consumeMutants break what consuming promises.
var consumeMutants = []mutant{
	{
		name: "progress/backward", rule: "progress only moves forward",
		edits: []edit{{"consume/progress/move.go", `if now.stored && now.Sequence >= to.Sequence {`, `if now.stored && now.Sequence == to.Sequence {`}},
		pkg:   "./consume/progress", test: "^TestMovesForwardOnly$",
	},
	{
		name: "progress/rests-on-nothing", rule: "a writer's claim rests on what it read",
		edits: []edit{{"consume/progress/move.go", `now.Generation != p.Generation || now.Sequence < p.Sequence`, `now.Generation != p.Generation`}},
		pkg:   "./consume/progress", test: "^TestRestsOnWhatWasRead$",
	},
	{
		name: "progress/former-hub", rule: "what rests on a former hub moves nothing",
		edits: []edit{{"consume/progress/move.go", `now.Generation != p.Generation || now.Sequence < p.Sequence`, `now.Sequence < p.Sequence && now.Generation == p.Generation`}},
		pkg:   "./consume/progress", test: "^TestAnew$",
	},
	{
		name: "progress/lost-twice", rule: "a loss counts once, whoever notices",
		edits: []edit{{"consume/progress/move.go", `now.Lost += first - 1 - now.Sequence`, `now.Lost += first - 1 - from.Sequence`}},
		pkg:   "./consume/progress", test: "^TestLostCountsOnce$",
	},
	{
		name: "progress/claim-unread", rule: "a claim that seems refused or was not answered is what the row says",
		edits: []edit{{"consume/progress/owners.go", `now.ID == o.ID && now.Since.Equal(o.Since)`, `now.ID != ""`}},
		pkg:   "./consume/progress", test: "^TestOwners$",
	},
	{
		name: "consume/progress-first", rule: "progress moves when all before it is durable",
		edits: []edit{{"consume/land.go", `		err = t.bury(ctx, list, &r)
	}
	if err == nil {
		err = t.durable(ctx, list[len(list)-1].event)`, `		err = t.durable(ctx, list[len(list)-1].event)
	}
	if err == nil {
		err = t.bury(ctx, list, &r)`}},
		pkg: "./consume", test: "^TestProperty$",
	},
	{
		name: "consume/gap-unseen", rule: "what a call leaves out is reread",
		edits: []edit{{"consume/gap.go", `	if until <= t.at.Sequence+1 {`, `	if true {`}},
		pkg:   "./consume", test: "^TestGap$",
	},
	{
		name: "consume/hole-believed", rule: "an event that the hub says it has is not lost",
		edits: []edit{{"consume/gap.go", `	case beyond:`, `	case beyond || err == nil:`}},
		pkg:   "./consume", test: "^TestHoles$",
	},
	{
		name: "consume/same-hub", rule: "a hub that was made anew is consumed from its beginning",
		edits: []edit{{"consume/gap.go", `case e.Enqueued.Sub(t.at.Enqueued) > clockGap, t.differs(e):`, `case e.Sequence < 0:`}},
		pkg:   "./consume", test: "^TestHubMadeAnew$",
	},
	{
		name: "consume/patience", rule: "a reread ends before the host ends the call",
		edits: []edit{{"consume/gap.go", `time.Until(deadline) < t.cfg.Deadline/10`, `time.Until(deadline) < 0`}},
		pkg:   "./consume", test: "^TestGapOutlastsACall$",
	},
	{
		name: "consume/judged-now", rule: "times are judged as of when the hub had them",
		edits: []edit{{"consume/judge.go", `telemetry.NewWindow(e.Enqueued, c.floor(e.Enqueued))`, `telemetry.NewWindow(c.cfg.Now(), c.floor(c.cfg.Now()))`}},
		pkg:   "./consume", test: "^TestJudgedAtTheEnqueuedTime$",
	},
	{
		name: "consume/stamps-by-turn", rule: "a replay keeps the stamps, whatever became of the readings between",
		edits: []edit{{"telemetry/wire/wire.go", `first + telemetry.Stamp(b.Index[i])`, `first + telemetry.Stamp(i)`}},
		pkg:   "./consume", test: "^TestReplayAfterAFix$",
	},
	{
		name: "consume/any-sender", rule: "a device sends its own readings only",
		edits: []edit{{"consume/judge.go", `opt.Device, opt.Sender = sender, true`, `opt.Default = sender`}},
		pkg:   "./consume", test: "^TestBadEvents$",
	},
	{
		name: "consume/deletes", rule: "nobody deletes through the hub",
		edits: []edit{{"consume/judge.go", `if d.Cut != 0 {`, `if d.Cut < 0 {`}},
		pkg:   "./consume", test: "^TestBadEvents$",
	},
	{
		name: "consume/outlived-letter", rule: "what was durable and is too old by now is no dead letter",
		edits: []edit{{"consume/land.go", `return j.outlived == j.rejected && t.at.Stored()`, `return j.outlived > j.rejected && t.at.Stored()`}},
		pkg:   "./consume", test: "^TestTooOldByNow$",
	},
	{
		name: "consume/away-buries", rule: "nothing is dead-lettered because the store is away",
		edits: []edit{{"consume/land.go", `return errors.Is(err, store.ErrTooLarge)`, `return errors.Is(err, store.ErrUnavailable)`}},
		pkg:   "./consume", test: "^TestStoreAway$",
	},
	{
		name: "frontier/of-the-answer", rule: "what comes while the hub is asked is not known to be consumed",
		edits: []edit{{"consume/frontier.go", `reach(lags, began)`, `reach(lags, f.now())`}},
		pkg:   "./consume", test: "^TestFrontierIsOfWhenItAsked$",
	},
	{
		name: "frontier/unknown-is-done", rule: "a partition of which nothing is consumed holds the frontier up",
		edits: []edit{{"consume/frontier.go", `			return time.Time{}, false
`, `			continue
`}},
		pkg: "./consume", test: "^TestFrontier$",
	},
}
