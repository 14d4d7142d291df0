package store

import "strconv"

// Property is a property's value, nil without.
func (r Row) Property(name string) any {
	for i := range r.Properties {
		if r.Properties[i].Name == name {
			return r.Properties[i].Value
		}
	}
	return nil
}

// Int reads an integer property, 0 without. (A table may give one back as text.)
func (r Row) Int(name string) int64 {
	switch v := r.Property(name).(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

// Text reads a string property, "" without.
func (r Row) Text(name string) string {
	s, _ := r.Property(name).(string)
	return s
}

// Bytes reads a binary property, nil without. The slice is the row's.
func (r Row) Bytes(name string) []byte {
	b, _ := r.Property(name).([]byte)
	return b
}
