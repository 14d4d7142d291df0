package block

// split cuts devices into parts of about target bytes each (as Size counts
// them); one part only if there is nothing to cut.
func split(devices []Device, target int) [][]Device {
	var parts [][]Device
	var part []Device
	size := 0
	for i := range devices {
		for _, piece := range pieces(nil, devices[i], target) {
			n := piece.Size()
			if len(part) > 0 && (size+n > target || part[len(part)-1].ID == piece.ID) {
				parts = append(parts, part)
				part, size = nil, 0
			}
			part = append(part, piece)
			size += n
		}
	}
	return append(parts, part)
}

// pieces halves a device until each piece has at most target bytes or is a
// single value.
func pieces(dst []Device, d Device, target int) []Device {
	if d.Size() <= target {
		return append(dst, d)
	}
	a, b, ok := d.halve()
	if !ok {
		return append(dst, d)
	}
	return pieces(pieces(dst, a, target), b, target)
}

// halve cuts a device in two, both of which have the deletion: by rows, by
// metrics if it has one row, and its tags likewise.
func (d *Device) halve() (Device, Device, bool) {
	a, b := Device{ID: d.ID, Cut: d.Cut}, Device{ID: d.ID, Cut: d.Cut}
	f := &d.Readings
	ok := true
	switch n := f.Len(); {
	case n > 1:
		a.Readings, b.Readings = f.Slice(0, n/2), f.Slice(n/2, n)
	case len(f.Columns) > 1:
		a.Readings, b.Readings = f.SplitMetrics()
	default:
		a.Readings = *f
		ok = false
	}
	switch n := len(d.Tags); {
	case n > 1:
		a.Tags, b.Tags = d.Tags[:n/2:n/2], d.Tags[n/2:]
		ok = true
	case n == 1:
		b.Tags = d.Tags
		ok = ok || f.Len() > 0
	}
	return a, b, ok
}
