package httperr

import "net/http"

// The codes of answers that are an error as a whole. Codes of single readings
// are telemetry's; those that make a whole body an error are the same words.
const (
	InvalidJSON      = "invalid_json"        // the body does not parse to its end
	InvalidBody      = "invalid_body"        // empty, cut short, or not what its headers say
	InvalidDevice    = "invalid_device"      // a device id in the path
	InvalidParameter = "invalid_parameter"   // of the query string
	InvalidCursor    = "invalid_cursor"      // broken, or of another query
	NotSupported     = "not_supported"       // known, but not built yet
	QueryTooLarge    = "query_too_large"     // reads more than the service does for one query
	UnknownDevice    = "unknown_device"      // no such device
	UnknownLetter    = "unknown_dead_letter" // no such dead letter, or it is done
	LetterCut        = "dead_letter_cut"     // its event was too large to be kept whole
	Unauthorized     = "unauthorized"        // no credential, or not a valid one
	Forbidden        = "forbidden"           // the credential lacks a scope: the message says which
	ForbiddenDevice  = "forbidden_device"    // the credential is for other devices
	DeviceBlocked    = "device_blocked"      // an administrator blocked the device
	TooManyBlocked   = "too_many_blocked"    // no more devices can be blocked
	NotFound         = "not_found"           // no such path
	MethodNotAllowed = "method_not_allowed"  // the path is there, with other methods
	NotAcceptable    = "not_acceptable"      // no such format
	RequestTimeout   = "request_timeout"     // the client sent its body too slowly
	BodyTooLarge     = "body_too_large"      // as sent or decompressed
	TooManyReadings  = "too_many_readings"   // in one body
	HeaderTooLarge   = "header_too_large"    // of the request
	UnsupportedType  = "unsupported_media_type"
	UnsupportedCode  = "unsupported_encoding" // of the content
	CrossOrigin      = "cross_origin"         // a web page of another site would change something
	RateLimited      = "rate_limited"         // a device sends more than it may; nothing was taken
	TooManyCalls     = "too_many_calls"       // of one credential are under way
	Overloaded       = "overloaded"           // a queue is full; nothing was taken
	Unavailable      = "unavailable"          // the store does not answer
	Throttled        = "throttled"            // the store takes no more at the moment
	Timeout          = "timeout"              // the service took too long
	Internal         = "internal"
	InvalidEnvelope  = "invalid_envelope"  // a trigger's call is not as the host writes it
	InvocationFailed = "invocation_failed" // a trigger's work is not done: the message says why
	HostSetting      = "host_setting"      // host.json lacks what the service needs
)

// statuses is the one place where codes become statuses.
var statuses = map[string]int{
	InvalidJSON:      http.StatusBadRequest,
	InvalidBody:      http.StatusBadRequest,
	InvalidDevice:    http.StatusBadRequest,
	InvalidParameter: http.StatusBadRequest,
	InvalidCursor:    http.StatusBadRequest,
	NotSupported:     http.StatusBadRequest,
	QueryTooLarge:    http.StatusBadRequest,
	UnknownDevice:    http.StatusNotFound,
	UnknownLetter:    http.StatusNotFound,
	LetterCut:        http.StatusConflict,
	Unauthorized:     http.StatusUnauthorized,
	Forbidden:        http.StatusForbidden,
	ForbiddenDevice:  http.StatusForbidden,
	DeviceBlocked:    http.StatusForbidden,
	TooManyBlocked:   http.StatusConflict,
	NotFound:         http.StatusNotFound,
	MethodNotAllowed: http.StatusMethodNotAllowed,
	NotAcceptable:    http.StatusNotAcceptable,
	RequestTimeout:   http.StatusRequestTimeout,
	BodyTooLarge:     http.StatusRequestEntityTooLarge,
	TooManyReadings:  http.StatusRequestEntityTooLarge,
	HeaderTooLarge:   http.StatusRequestHeaderFieldsTooLarge,
	UnsupportedType:  http.StatusUnsupportedMediaType,
	UnsupportedCode:  http.StatusUnsupportedMediaType,
	CrossOrigin:      http.StatusForbidden,
	RateLimited:      http.StatusTooManyRequests,
	TooManyCalls:     http.StatusTooManyRequests,
	Overloaded:       http.StatusServiceUnavailable,
	Unavailable:      http.StatusServiceUnavailable,
	Throttled:        http.StatusServiceUnavailable,
	Timeout:          http.StatusServiceUnavailable,
	Internal:         http.StatusInternalServerError,
	InvalidEnvelope:  http.StatusInternalServerError,
	InvocationFailed: http.StatusInternalServerError,
	HostSetting:      http.StatusInternalServerError,
}

// codes names the statuses that the router and echo's middleware answer with.
var codes = map[int]string{
	http.StatusBadRequest:                  InvalidBody,
	http.StatusNotFound:                    NotFound,
	http.StatusMethodNotAllowed:            MethodNotAllowed,
	http.StatusNotAcceptable:               NotAcceptable,
	http.StatusRequestTimeout:              RequestTimeout,
	http.StatusRequestEntityTooLarge:       BodyTooLarge,
	http.StatusRequestHeaderFieldsTooLarge: HeaderTooLarge,
	http.StatusUnsupportedMediaType:        UnsupportedType,
	http.StatusTooManyRequests:             RateLimited,
	http.StatusServiceUnavailable:          Unavailable,
}
