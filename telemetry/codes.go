package telemetry

import "fmt"

// Code says why a reading was refused. Clients see it: a code, once published,
// keeps its meaning.
type Code string

// The codes of refused readings. Sending the same reading again does not help
// with any of these but those that Retryable names.
const (
	InvalidJSON       Code = "invalid_json"        // a line is not JSON (a whole body that is not: an error as a whole)
	InvalidText       Code = "invalid_text"        // a string has bytes that are not UTF-8, or half a surrogate pair
	InvalidMessage    Code = "invalid_message"     // not an object, or metrics and tags that are not objects
	UnknownField      Code = "unknown_field"       // a key that a message does not have
	DuplicateKey      Code = "duplicate_key"       // a key twice in one object
	EmptyMessage      Code = "empty_message"       // neither metrics (null is none) nor tags
	InvalidDevice     Code = "invalid_device"      // no device id, or not a legal one
	DeviceMismatch    Code = "device_mismatch"     // another device id than the path's
	InvalidTimestamp  Code = "invalid_timestamp"   // not a time
	TimestampInFuture Code = "timestamp_in_future" // from MaxAhead after now on
	TimestampTooOld   Code = "timestamp_too_old"   // before the retention's day or before the year 2000
	InvalidMetric     Code = "invalid_metric"      // not a legal name
	InvalidValue      Code = "invalid_value"       // not a number, boolean or short string
	TooManyMetrics    Code = "too_many_metrics"    // in the reading, or of the device
	InvalidTags       Code = "invalid_tags"        // not legal tags, or too many
	NotStorable       Code = "not_storable"        // the store refuses it for good, though it is right
	RateLimited       Code = "rate_limited"        // over the device's rate; retryable
	ForbiddenDevice   Code = "forbidden_device"    // the credential is for others; of the hub: IoT Hub says that another one sent it
	DeviceBlocked     Code = "device_blocked"      // an administrator blocked the device
)

// The codes of events of the hub that are refused as a whole; those of a body
// that are no events' alone are the words that HTTP's answers have for it.
const (
	UnsupportedVersion  Code = "unsupported_version"  // written by a newer version of the service: replay it after an upgrade
	CorruptEvent        Code = "corrupt_event"        // damaged: a wrong checksum, half a block, what does not decompress
	TooManyReadings     Code = "too_many_readings"    // in one event
	BodyTooLarge        Code = "body_too_large"       // decompressed
	UnsupportedEncoding Code = "unsupported_encoding" // of the content
	Internal            Code = "internal"             // judging it failed, by a fault of the service: replay it after an upgrade
)

// Retryable says whether the same reading may be taken later.
func (c Code) Retryable() bool { return c == RateLimited }

// Refusal is why a reading was refused. Message names the input and what would
// be right.
type Refusal struct {
	Code    Code
	Message string
}

// Error is code and message.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Message }

// Refuse makes a Refusal.
func Refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}
