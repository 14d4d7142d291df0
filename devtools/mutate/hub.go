package main

// hubMutants break what the way through the Event Hub promises.
var hubMutants = []mutant{
	{
		name: "event/version-unsummed", rule: "a flipped version is damage, not a version to wait for",
		edits: []edit{{"telemetry/event/event.go", `crc32.Checksum(body[:sumAt], castagnoli)`, `crc32.Checksum(body[:versionAt], castagnoli)`}},
		pkg:   "./telemetry/event", test: "^TestDamage$",
	},
	{
		name: "event/head-uncounted", rule: "a body is no longer than its limit",
		edits: []edit{{"telemetry/event/event.go", `block.Encode(devices, limit-headSize)`, `block.Encode(devices, limit)`}},
		pkg:   "./telemetry/event", test: "^TestLimitToTheByte$",
	},
	{
		name: "event/newer-block-is-damage", rule: "what a newer version wrote can be replayed after an upgrade",
		edits: []edit{{"telemetry/event/event.go", `	case errors.Is(err, block.ErrVersion):
		return nil, fmt.Errorf("%w: %w", ErrVersion, err)
`, ``}},
		pkg: "./telemetry/event", test: "^TestRefuses$",
	},
	{
		name: "ingest/sent-is-confirmed", rule: "an acknowledgement means durable",
		edits: []edit{{"ingest/queue.go", `	if away == nil {
		return true, nil
	}
`, `	if true {
		return true, nil
	}
`}},
		pkg: "./ingest", test: "^TestQueueUnderFaults$",
	},
	{
		name: "ingest/queued-forever", rule: "202 only if some of it is in the queue",
		edits: []edit{{"ingest/queue.go", `		return false, err
	}
	return false, fmt.Errorf`, `		return true, err
	}
	return false, fmt.Errorf`}},
		pkg: "./ingest", test: "^TestQueueAway$",
	},
	{
		name: "hub/half-sent", rule: "all bodies are confirmed, or it is an error",
		edits: []edit{{"hub/send.go", `bodies = bodies[n:]`, `bodies = bodies[min(n+1, len(bodies)):]`}},
		pkg:   "./hub", test: "^TestSend$",
	},
	{
		name: "hub/first-silence", rule: "a hub that is silent once is away: nobody else waits for it",
		edits: []edit{{"hub/breaker.go", `return b.hard.Load() || c`, `return c`}},
		pkg:   "./hub", test: "^TestAway$",
	},
	{
		name: "hub/callers-end-opens", rule: "a caller that does not wait says nothing about the hub",
		edits: []edit{{"hub/breaker.go", `	case ctx.Err() != nil || errors.Is(err, ErrTooLarge):`, `	case errors.Is(err, ErrTooLarge):`}},
		pkg:   "./hub", test: "^TestCallersEnd$",
	},
	{
		name: "hub/steals-first", rule: "rereading takes a partition from the trigger only if there is no other way",
		edits: []edit{{"hub/read.go", `	ways := []way{{group: RereadGroup}}
`, `	ways := []way{{group: own, level: to.Ptr[int64](0)}}
`}},
		pkg: "./hub", test: "^TestReadBesideTheTrigger$",
	},
	{
		name: "hub/never-steals", rule: "a gap is reread also where there is one consumer group",
		edits: []edit{{"hub/read.go", `	return append(ways, way{group: own, level: to.Ptr[int64](0)})`, `	return append(ways, way{group: own, level: to.Ptr[int64](0)})[:len(ways)]`}},
		pkg:   "./hub", test: "^TestReadBesideTheTrigger$",
	},
	{
		name: "hub/gap-without-end", rule: "a gap ends before the event that is there",
		edits: []edit{{"hub/read.go", `		case e.Sequence >= to: // and so all before it have been given, or expired
			next = math.MaxInt64
`, `		case e.Sequence == math.MaxInt64:
`}},
		pkg: "./hub", test: "^TestRead$",
	},
	{
		name: "hub/silence-is-the-end", rule: "a gap that cannot be read is an error, not empty",
		edits: []edit{{"hub/read.go", `	case p.Last < next || p.Last < p.First:
		return nil
	default:
		return fmt`, `	case p.Last < next || p.Last >= p.First:
		return nil
	default:
		return fmt`}},
		pkg: "./hub", test: "^TestReadSilence$",
	},
	{
		name: "hub/passes-over", rule: "events that are not durable come again",
		edits: []edit{{"hub/consume.go", `		if err == nil {
			return
		}
		p.wait(ctx)
	}
}

// pause`, `		p.n++
		return
	}
}

// pause`}},
		pkg: "./hub", test: "^TestConsumeHandleFails$",
	},
	{
		name: "hub/place-beyond-the-end", rule: "a hub that was made anew is read from its beginning",
		edits: []edit{{"hub/shelf.go", `if end, ok := last[place.Partition]; ok && place.Sequence <= end && before >= 0 {`, `if _, ok := last[place.Partition]; ok && before >= 0 {`}},
		pkg:   "./hub", test: "^TestConsumeAnew$",
	},
	{
		name: "hub/checkpoints-fail-once", rule: "consuming outlasts the store",
		edits: []edit{{"hub/shelf.go", `		if err == nil || ctx.Err() != nil {
			return err
		}
		p.wait(ctx)`, `		p.n++
		return err`}},
		pkg: "./hub", test: "^TestConsumePlacesFail$",
	},
	{
		name: "hub/hangs-for-ever", rule: "a hub that keeps one answer back does not end consuming",
		edits: []edit{{"hub/consume.go", `return 2*c.hub.cfg.Claim + 3*c.hub.cfg.AskTimeout`, `return time.Hour`}},
		pkg:   "./hub", test: "^TestConsumeHangs$",
	},
	{
		name: "hub/opened-within-a-page", rule: "a lost link is opened anew, also where that takes longer than a page gathers",
		edits: []edit{{"hub/consume.go", `pages.next(ctx, c.hub.cfg.AskTimeout, c.hub.cfg.Poll, pageEvents)`, `pages.next(ctx, c.hub.cfg.Poll, c.hub.cfg.Poll, pageEvents)`}},
		pkg:   "./hub", test: "^TestConsumeFarAway$",
	},
}
