package main

// embedded is the same over the embedded store alone.
func embedded(cases int, name, rule string, edits ...edit) mutant {
	m := property(cases, name, rule, edits...)
	m.name, m.test = "embedded/"+name, "^TestProperty$/^embedded$"
	return m
}

// embeddedMutants break what the embedded store keeps of the journal's
// contract.
var embeddedMutants = []mutant{
	{
		name: "embedded/append-to-sealed", rule: "an epoch that was sealed never grows", pkg: "./store/pebble", test: "^TestJournal$",
		edits: []edit{{"store/pebble/append.go", `n == 0 || h.epochs[n-1].sealed {`, `n == 0 {`}},
	},
	embedded(300, "head-blind", "the head must still have the version that it was read with", edit{"store/pebble/journal.go",
		`if sh.head.version == 0 || from.Version != formatVersionOf(sh.head.version) {`,
		`if sh.head.version == 0 {`}),
	embedded(1000, "not-synced", "what was answered is on the disk",
		edit{"store/pebble/write.go", `s.db.ApplyNoSyncWait(b, pebbledb.Sync)`, `s.db.Apply(b, pebbledb.NoSync)`},
		edit{"store/pebble/write.go", `if err := b.SyncWait(); err != nil {`, `if err := error(nil); err != nil {`}),
	embedded(1000, "places-used-again", "a place is never used again, also after a start", edit{"store/pebble/begin.go",
		`n.last.Store(meta.starts << numberBits)`,
		`n.last.Store(1 << numberBits)`}),
	embedded(1000, "etag-not-compared", "If-Match: the row must have this ETag", edit{"store/pebble/commit.go",
		`		tag, err := rowTag(data)
		if err == nil && o.IfMatch != store.AnyTag && o.IfMatch != formatTag(tag) {`,
		`		_, err := rowTag(data)
		if err == nil && o.IfMatch != store.AnyTag && o.IfMatch == "" {`}),
}
