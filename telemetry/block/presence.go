package block

// runs gathers which rows have a value: lengths of stretches, alternately
// without and with, the first without (maybe of length 0).
type runs struct {
	lengths []int64
	end     int // of the last stretch
}

// add appends rows from…to-1; from is not before the end.
func (p *runs) add(from, to int) {
	if from == p.end && len(p.lengths) > 0 {
		p.lengths[len(p.lengths)-1] += int64(to - from)
	} else {
		p.lengths = append(p.lengths, int64(from-p.end), int64(to-from))
	}
	p.end = to
}

// addColumn appends the rows of a column of a frame of n rows that begins at
// row base.
func (p *runs) addColumn(c *Column, base, n int) {
	if c.Rows == nil {
		p.add(base, base+n)
		return
	}
	for i := 0; i < len(c.Rows); {
		first := i
		for i++; i < len(c.Rows) && c.Rows[i] == c.Rows[i-1]+1; i++ {
		}
		p.add(base+int(c.Rows[first]), base+int(c.Rows[i-1])+1)
	}
}

// presence writes the stretches; 0 if all n rows have a value.
func (w *writer) presence(p *runs, n int) {
	if len(p.lengths) == 2 && p.lengths[0] == 0 && p.end == n {
		w.count(0)
		return
	}
	w.count(len(p.lengths))
	w.ints(p.lengths, nil)
}

// presence reads the rows that have a value, at least one; nil if all n have.
func (r *reader) presence(n int) []int32 {
	m := r.uvarint()
	if m == 0 || r.err != nil {
		return nil
	}
	if m%2 != 0 || m > uint64(n)+1 {
		r.fail("%d stretches in %d rows", m, n)
		return nil
	}
	lengths := r.ints(int(m))
	r.series(lengths, nil)
	total := r.present(lengths, n)
	if !r.spend(total, 4) {
		return nil
	}
	rows := make([]int32, 0, total)
	at := int32(0)
	for i := 0; i < len(lengths); i += 2 {
		at += int32(lengths[i])
		for range lengths[i+1] {
			rows = append(rows, at)
			at++
		}
	}
	return rows
}

// present checks the stretches and counts the rows with a value.
func (r *reader) present(lengths []int64, n int) int {
	end, total := int64(0), int64(0)
	for i, length := range lengths {
		if length < 0 || length == 0 && i > 0 || length > int64(n)-end {
			r.fail("stretch of %d rows after %d of %d", length, end, n)
			return 0
		}
		end += length
		if i%2 == 1 {
			total += length
		}
	}
	if r.err == nil && total == int64(n) {
		r.fail("stretches that cover all rows")
	}
	return int(total)
}

func (p *runs) reset() { p.lengths, p.end = p.lengths[:0], 0 }
