package ingest

// turns is what waits in a shard: a queue for each source, which take turns
// (deficit round robin). So a source waits for one turn of each other at most,
// however much those have waiting. It is for who holds the shard's lock.
type turns struct {
	quantum int64 // the cost that a turn gives
	sources map[string]*source
	ring    []*source // those that have parts waiting, whose turn it is first
}

// source is whose parts take turns with others': the device that a request's
// readings for the shard begin with. A request has one in each shard, so that its
// parts stay in their order.
type source struct {
	name    string
	waiting []part
	credit  int64 // cost that it may have flushed before it is another's turn
	bytes   int64 // waiting, being flushed, or let in to wait
}

// letIn makes room for so many bytes of a source, or says that it has its share:
// as much as is free. So one source never has more than half of the queue, two
// not more than two thirds, and there is always some left for who comes with
// little. Who has nothing waiting gets in wherever there is room at all.
func (t *turns) letIn(name string, bytes, free int64) (*source, bool) {
	s := t.sources[name]
	switch {
	case s == nil:
		s = &source{name: name}
		if t.sources == nil {
			t.sources = make(map[string]*source)
		}
		t.sources[name] = s
	case s.bytes+bytes > free:
		return nil, false
	}
	s.bytes += bytes
	return s, true
}

// leave is the end of so many bytes of a source.
func (t *turns) leave(s *source, bytes int64) {
	if s.bytes -= bytes; s.bytes == 0 {
		delete(t.sources, s.name)
	}
}

// add lets a part wait.
func (t *turns) add(p part) {
	s := p.source
	if len(s.waiting) == 0 {
		s.credit = t.quantum
		t.ring = append(t.ring, s)
	}
	s.waiting = append(s.waiting, p)
}

// next is the part whose turn it is; nil if none waits.
func (t *turns) next() *part {
	for len(t.ring) > 0 {
		s := t.ring[0]
		if p := &s.waiting[0]; p.cost <= s.credit {
			return p
		}
		s.credit += t.quantum
		t.ring = append(t.ring[1:], s)
	}
	return nil
}

// shift takes out what next returned, for a flush.
func (t *turns) shift() {
	s := t.ring[0]
	s.credit -= s.waiting[0].cost
	t.drop()
}

// drop takes out what next returned, for nothing.
func (t *turns) drop() {
	s := t.ring[0]
	s.waiting[0] = part{}
	if s.waiting = s.waiting[1:]; len(s.waiting) == 0 {
		s.waiting = nil
		t.ring[0] = nil
		t.ring = t.ring[1:]
	}
}

// empty says that nothing waits.
func (t *turns) empty() bool { return len(t.ring) == 0 }
