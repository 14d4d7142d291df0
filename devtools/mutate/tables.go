package main

// tablesMutants break what the store over Azure Tables promises.
var tablesMutants = []mutant{
	{
		name: "tables/false-exists", rule: "after a lost answer a refusal is no answer",
		edits: []edit{{"store/tables/retry.go", `	case doubt == nil, c.stands`, `	case true, c.stands`}},
		pkg:   "./store/tables", test: "^TestCommitAnswers$",
	},
	{
		name: "tables/tables-stand", rule: "a table that exists was made, also at the second try",
		edits: []edit{{"store/tables/tables.go", `		err = s.do(ctx, call{write: true, stands: true, send: func(ctx context.Context) error {
			_, err := s.service.CreateTable`, `		err = s.do(ctx, call{write: true, send: func(ctx context.Context) error {
			_, err := s.service.CreateTable`}},
		pkg: "./store/tables", test: "^TestTableAnswers$",
	},
	{
		name: "tables/once-twice", rule: "under store.Once a write is sent once",
		edits: []edit{{"store/tables/retry.go", ` || c.write && store.IsOnce(ctx) {`, ` {`}},
		pkg:   "./store/tables", test: "^TestOnceIsOnce$",
	},
	{
		name: "tables/lost-is-unavailable", rule: "a write that may have been done is not said to be undone",
		edits: []edit{{"store/tables/retry.go", `	if ex.tried.Load() {`, `	if false {`}},
		pkg:   "./store/tables", test: "^TestOutageThatLasts$",
	},
	{
		name: "tables/busy-is-lost", rule: "a refused connection did nothing",
		edits: []edit{{"store/tables/retry.go", `	if ex.tried.Load() {`, `	if true {`}},
		pkg:   "./store/tables", test: "^TestOutageThatLasts$",
	},
	{
		name: "tables/cut-is-done", rule: "an answer that does not reach its end is no success",
		edits: []edit{{"store/tables/rows.go", `a.done != n || !a.whole`, `a.done != n`}},
		pkg:   "./store/tables", test: "^TestCommitAnswers$",
	},
	{
		name: "tables/few-is-done", rule: "a success answers each operation",
		edits: []edit{{"store/tables/rows.go", `a.done != n || !a.whole`, `!a.whole`}},
		pkg:   "./store/tables", test: "^TestCommitAnswers$",
	},
	{
		name: "tables/black-hole", rule: "a try takes at most half of the deadline",
		edits: []edit{{"store/tables/retry.go", `deadline.Sub(s.opts.Now())/2))`, `deadline.Sub(s.opts.Now())))`}},
		pkg:   "./store/tables", test: "^TestDeadline$",
	},
	{
		name: "tables/denied-again", rule: "a wrong key is not tried again",
		edits: []edit{{"store/tables/meaning.go", `"AuthorizationFailure":               {refused,`, `"AuthorizationFailure":               {busy,`}},
		pkg:   "./store/tables", test: "^TestWrongKey$",
	},
	{
		name: "tables/no-account-is-empty", rule: "an account that is not there is not one without rows",
		edits: []edit{{"store/tables/meaning.go", `	case known && r.status == http.StatusNotFound && !r.odata:
		return meaning{refused, store.ErrUnavailable, "no account of that name is at this address"}
`, ``}},
		pkg: "./store/tables", test: "^TestNoSuchAccount$",
	},
	{
		name: "tables/double-untyped", rule: "a float has its type",
		edits: []edit{{"store/tables/encode.go", `strconv.AppendFloat(typed(b, "Edm.Double"), v, 'g', -1, 64)`, `strconv.AppendFloat(named(b), v, 'g', -1, 64)`}},
		pkg:   "./store/tables", test: "^TestEncodeEntity$",
	},
	{
		name: "tables/quotes-once", rule: "quotes are doubled in an address",
		edits: []edit{{"store/tables/encode.go", `url.PathEscape(strings.ReplaceAll(key, "'", "''"))`, `url.PathEscape(strings.ReplaceAll(key, "'", "'"))`}},
		pkg:   "./store/tables", test: "^TestEncodeBatch$",
	},
	{
		name: "tables/two-lines", rule: "a row's JSON is on one line",
		edits: []edit{{"store/tables/encode.go", `r >= utf8.RuneSelf && r != 0x2028 && r != 0x2029`, `r >= utf8.RuneSelf`}},
		pkg:   "./store/tables", test: "^TestEncodeBatch$",
	},
	{
		name: "tables/filter-unquoted", rule: "quotes are doubled in a filter",
		edits: []edit{{"store/tables/filter.go", `"'" + strings.ReplaceAll(s, "'", "''") + "'"`, `"'" + s + "'"`}},
		pkg:   "./store/tables", test: "^TestFilter$",
	},
	{
		name: "tables/bound-shifts", rule: "a bound divides the keys as the one that was asked for",
		edits: []edit{{"store/tables/filter.go", `			return p, true, true
`, `			return p, false, true
`}},
		pkg: "./store/tables", test: "^TestBound$",
	},
	{
		name: "tables/page-without-end", rule: "a page is bounded in bytes",
		edits: []edit{{"store/tables/scan.go", `return size >= store.MaxPageBytes || count >= r.PageLimit()`, `return count >= r.PageLimit()`}},
		pkg:   "./store/tables", test: "^TestPagesOfLargeRows$",
	},
	{
		name: "tables/page-ends-early", rule: "only an empty continuation ends a scan",
		edits: []edit{{"store/tables/scan.go", `	if next.partition != "" {`, `	if next.partition != "" && len(rows) > 0 {`}},
		pkg:   "./store/tables", test: "^TestScanAnswers$",
	},
	{
		name: "tables/touch-grows", rule: "a touch does not make a row too large",
		edits: []edit{{"store/tables/rows.go", `		row.Properties = store.Merged(row.Properties, o.Properties)
`, ``}},
		pkg: "./store/tables", test: "^TestConformance$/^TouchTooLarge$",
	},
	{
		name: "tables/signature-in-error", rule: "no secret is in an error",
		edits: []edit{{"store/tables/meaning.go", ` && !errors.Is(m.err, store.ErrDenied) && !repeatsRequest(r.message) {`, ` {`}},
		pkg:   "./store/tables", test: "^TestCommitAnswers$",
	},
	{
		name: "tables/connection-lost", rule: "a connection serves the next request",
		edits: []edit{{"store/tables/rows.go", `			if row, err = d.row(); err == nil {
				err = d.rest()
			}
`, `			row, err = d.row()
`}},
		pkg: "./store/tables", test: "^TestConnectionsAreKept$",
	},
	{
		name: "tables/waits-too-long", rule: "a pause does not outlast the deadline",
		edits: []edit{{"store/tables/retry.go", ` || late(ctx, s.opts.Now(), pause) {`, ` {`}},
		pkg:   "./store/tables", test: "^TestRetryAfter$",
	},
	{
		name: "tables/skew-guessed", rule: "what whole seconds explain is no skew",
		edits: []edit{{"store/tables/skew.go", `written.Add(time.Second).Sub(sent.Round(0))`, `written.Sub(sent.Round(0))`}},
		pkg:   "./store/tables", test: "^TestSkew$",
	},
	{
		name: "tables/never-away", rule: "an account that does not answer is left alone",
		edits: []edit{{"store/tables/breaker.go", `return c.ConsecutiveFailures >= failures &&`, `return false && c.ConsecutiveFailures >= failures &&`}},
		pkg:   "./store/tables", test: "^TestAway$",
	},
	{
		name: "tables/away-while-answered", rule: "calls that fail together are no outage while others are answered",
		edits: []edit{{"store/tables/breaker.go", `c.ConsecutiveFailures >= failures && now().UnixNano()-b.heard.Load() >= int64(silence)`, `c.ConsecutiveFailures >= failures`}},
		pkg:   "./store/tables", test: "^TestNotAwayWhileAnswered$",
	},
	{
		name: "tables/impatient-caller", rule: "a caller who goes away says nothing about the account",
		edits: []edit{{"store/tables/retry.go", `case ctx.Err() != nil || !ex.sent: //`, `case !ex.sent: //`}},
		pkg:   "./store/tables", test: "^TestImpatientCallers$",
	},
	{
		name: "tables/throttled-is-away", rule: "an answer of any status is an answer",
		edits: []edit{{"store/tables/retry.go", `	case ex.status != 0:
		return nil
	case ctx.Err()`, `	case ex.status == 200:
		return nil
	case ctx.Err()`}},
		pkg: "./store/tables", test: "^TestThrottledIsNotAway$",
	},
}
