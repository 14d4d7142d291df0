package wire

// maxNames bounds a table of names; it starts anew between two messages.
const maxNames = 8192

// name is a string that many messages share, allocated once.
type name struct {
	text string
	seen uint64 // the last message that had it, see parser.serial
}

// names finds the one copy of a name. A pooled parser keeps its tables, so that
// a fleet's names are allocated once for many bodies.
type names struct {
	table map[string]*name
	last  []*name // of the last message, in its order: the next is likely the same
	turn  []*name // of this message so far
}

// turnOver begins a message.
func (n *names) turnOver() {
	n.last, n.turn = n.turn, n.last[:0]
	if len(n.table) > maxNames {
		clear(n.table)
		clear(n.last[:cap(n.last)])
		n.last = n.last[:0]
	}
}

// find returns the entry of text, nil if it has none.
func (n *names) find(text []byte) *name {
	if i := len(n.turn); i < len(n.last) && n.last[i].text == string(text) {
		n.turn = append(n.turn, n.last[i])
		return n.last[i]
	}
	e := n.table[string(text)]
	if e != nil {
		n.turn = append(n.turn, e)
	}
	return e
}

// add makes the entry of text.
func (n *names) add(text []byte) *name {
	if n.table == nil {
		n.table = make(map[string]*name)
	}
	e := &name{text: string(text)}
	n.table[e.text] = e
	n.turn = append(n.turn, e)
	return e
}

// maxShared is the longest string value that is looked up: states repeat, texts
// do not.
const maxShared = 32

// texts finds the one copy of short strings.
type texts map[string]string

func (t texts) share(text []byte) string {
	if len(text) > maxShared {
		return string(text)
	}
	if s, ok := t[string(text)]; ok {
		return s
	}
	s := string(text)
	if len(t) >= maxNames {
		clear(t)
	}
	t[s] = s
	return s
}
