package block

import (
	"slices"
	"strings"
)

// Union puts what several blocks say together: each device once, ascending by
// ID, its readings resolved (see Merge). It shares memory with the parts.
func Union(parts [][]Device) []Device {
	var all []*Device
	for _, part := range parts {
		for i := range part {
			all = append(all, &part[i])
		}
	}
	slices.SortStableFunc(all, func(a, b *Device) int { return strings.Compare(a.ID, b.ID) })
	var out []Device
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].ID == all[0].ID {
			n++
		}
		out = append(out, unite(all[:n]))
		all = all[n:]
	}
	return out
}

// unite puts together what there is of one device.
func unite(parts []*Device) Device {
	if len(parts) == 1 {
		return *parts[0]
	}
	d := Device{ID: parts[0].ID}
	var frames []Frame
	for _, p := range parts {
		d.Cut = max(d.Cut, p.Cut)
		d.Tags = append(d.Tags, p.Tags...)
		frames = append(frames, p.Readings)
	}
	if len(d.Tags) > 1 {
		d.Tags = sortTags(d.Tags)
	}
	d.Readings = MergeAll(frames)
	return d
}
