package wire

import "fmt"

// Kind is why a whole body was refused.
type Kind int

// The kinds.
const (
	Syntax          Kind = iota + 1 // does not parse to its end
	Empty                           // no message in it
	TooManyReadings                 // more than Options.Readings
	TooLarge                        // more bytes than Limits allow, as sent or decompressed
	UnknownEncoding                 // a Content-Encoding that is not known
	Corrupt                         // not what Content-Encoding says, or cut short
)

// Error is why a whole body was refused: nothing of it is kept.
type Error struct {
	Kind    Kind
	Message string // names the place and what would be right
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

func refuse(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
