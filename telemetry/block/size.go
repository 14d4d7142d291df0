package block

import "unsafe"

// Memory that decoded data takes, in bytes.
const (
	rowSize    = 16 // time and stamp
	stringSize = int(unsafe.Sizeof(""))
	// valueSize counts bits, row, kind and text, though most series have only the
	// first: a device decodes in one piece with others that have all.
	valueSize  = 8 + 4 + 1 + stringSize
	columnSize = int(unsafe.Sizeof(Column{}))
	deviceSize = int(unsafe.Sizeof(Device{}))
	tagSize    = int(unsafe.Sizeof(TagChange{}))
)

// Size is the memory that the frame takes at most when decoded, in bytes.
func (f *Frame) Size() int {
	size := f.Len() * rowSize
	for i := range f.Columns {
		size += f.Columns[i].size()
	}
	return size
}

func (c *Column) size() int {
	size := columnSize + 2*(stringSize+len(c.Name)) + c.Len()*valueSize
	for _, s := range c.Texts {
		size += stringSize + len(s)
	}
	return size
}

// Size is the memory that the device takes at most when decoded, in bytes.
func (d *Device) Size() int {
	size := 2*deviceSize + stringSize + 2*len(d.ID) + d.Readings.Size()
	for i := range d.Tags {
		size += tagSize + 2*stringSize + len(d.Tags[i].Key) + len(d.Tags[i].Value)
	}
	return size
}
