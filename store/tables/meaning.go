package tables

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"sluice/store"
)

// outcome is what became of a request.
type outcome uint8

const (
	refused outcome = iota // nothing was done, and another try would fail alike
	busy                   // nothing was done; another try may succeed
	lost                   // it may have been done or not; another try may succeed
	shut                   // nothing was sent: the account has not answered for a while
)

// What methods turn into something else, or into nothing.
var (
	errTableExists  = errors.New("table exists")
	errTableDropped = errors.New("table is being deleted")
)

// meaning is what an answer of the service means.
type meaning struct {
	outcome outcome
	err     error
	help    string
}

const (
	helpKey     = "check the account's name and key, and this machine's clock (15 minutes off are too many)"
	helpRole    = `give this identity the role "Storage Table Data Contributor" on the account; a new role takes some minutes`
	helpAddress = "the address may not be that of a Table service"
	helpSAS     = "the shared access signature must allow tables, resource types service, container and object, and all of raudl"
)

// meanings are those of the service's codes, for refused transactions as for
// whole requests. What has none is judged by its status.
var meanings = map[string]meaning{
	"EntityAlreadyExists":         {refused, store.ErrExists, ""},
	"UpdateConditionNotSatisfied": {refused, store.ErrStale, ""},
	"ConditionNotMet":             {refused, store.ErrStale, ""},
	"ResourceNotFound":            {refused, store.ErrNotFound, ""},
	"EntityNotFound":              {refused, store.ErrNotFound, ""},
	"TableNotFound":               {refused, store.ErrTableNotFound, ""},
	"TableAlreadyExists":          {refused, errTableExists, ""},
	"TableBeingDeleted":           {refused, errTableDropped, ""},

	"EntityTooLarge":        {refused, store.ErrTooLarge, ""},
	"PropertyValueTooLarge": {refused, store.ErrTooLarge, ""},
	"TooManyProperties":     {refused, store.ErrTooLarge, ""},
	"KeyValueTooLarge":      {refused, store.ErrTooLarge, ""},
	"RequestBodyTooLarge":   {refused, store.ErrTooLarge, ""},
	"ContentLengthExceeded": {refused, store.ErrTooLarge, ""},

	"ServerBusy":          {busy, store.ErrThrottled, ""},
	"AccountBeingCreated": {busy, store.ErrUnavailable, "the account is being made"},
	"OperationTimedOut":   {lost, store.ErrUnavailable, ""},
	"InternalError":       {lost, store.ErrUnavailable, ""},

	"AuthenticationFailed":               {refused, store.ErrDenied, helpKey},
	"AuthorizationFailure":               {refused, store.ErrDenied, "the key or the account's firewall: " + helpKey + ", and which networks it lets in"},
	"AuthorizationPermissionMismatch":    {refused, store.ErrDenied, helpRole + "; a shared access signature must allow raudl"},
	"InsufficientAccountPermissions":     {refused, store.ErrDenied, helpRole},
	"AuthorizationServiceMismatch":       {refused, store.ErrDenied, helpSAS},
	"AuthorizationResourceTypeMismatch":  {refused, store.ErrDenied, helpSAS},
	"AuthorizationProtocolMismatch":      {refused, store.ErrDenied, "the shared access signature is for https only"},
	"AuthorizationSourceIPMismatch":      {refused, store.ErrDenied, "the shared access signature is for other addresses"},
	"KeyBasedAuthenticationNotPermitted": {refused, store.ErrDenied, "the account takes no keys: give its https address alone, to use an identity"},
	"AccountIsDisabled":                  {refused, store.ErrDenied, "the account is disabled"},
	"PublicAccessNotPermitted":           {refused, store.ErrDenied, helpKey},
	"InvalidAuthenticationInfo":          {refused, store.ErrDenied, "the identity's token or the key is not accepted: " + helpKey},
	"NoAuthenticationInformation":        {refused, store.ErrDenied, helpKey},
}

// meaningOf judges an answer.
func meaningOf(r refusal) meaning {
	m, known := meanings[r.code]
	switch {
	case known && r.status == http.StatusNotFound && !r.odata:
		return meaning{refused, store.ErrUnavailable, "no account of that name is at this address"}
	case known:
		return m
	}
	m = meaningOfStatus(r.status)
	if errors.Is(m.err, store.ErrInvalid) && r.code == "" && !r.odata {
		// The Table service says what is wrong with a request. What does not is a
		// proxy's, and nobody must be told that it is his data.
		return meaning{refused, store.ErrUnavailable, helpAddress}
	}
	return m
}

func meaningOfStatus(status int) meaning {
	switch {
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		return meaning{busy, store.ErrThrottled, ""}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return meaning{refused, store.ErrDenied, helpKey}
	case status == http.StatusRequestEntityTooLarge:
		return meaning{refused, store.ErrTooLarge, ""}
	case status == http.StatusPreconditionFailed:
		return meaning{refused, store.ErrStale, ""}
	case status == http.StatusNotFound, status == http.StatusConflict:
		return meaning{refused, store.ErrUnavailable, helpAddress}
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported:
		return meaning{refused, store.ErrInvalid, ""}
	case status == http.StatusRequestTimeout, status >= 500:
		return meaning{lost, store.ErrUnavailable, ""}
	case status >= 400:
		return meaning{refused, store.ErrInvalid, ""}
	default: // a success of another kind, or a redirection: not the Table service's
		return meaning{lost, store.ErrUnavailable, helpAddress}
	}
}

// failure is a try that did not succeed.
type failure struct {
	outcome outcome
	err     error
}

// judge makes a failure of what the service answered to a request of n
// operations (0: no transaction).
func judge(r refusal, n int, request string) *failure {
	m := meaningOf(r)
	text := fmt.Sprintf("%d %s", r.status, r.code)
	if r.code == "" {
		text = fmt.Sprintf("%d %s", r.status, http.StatusText(r.status))
	}
	if r.message != "" && !errors.Is(m.err, store.ErrDenied) && !repeatsRequest(r.message) {
		text += ", " + r.message
	}
	if m.help != "" {
		text += ": " + m.help
	}
	if request != "" {
		text += " (request " + request + ")"
	}
	err := fmt.Errorf("%w: %s", m.err, text)
	if index, ok := r.operation(n); ok && concernsOne(m) {
		err = &store.OpError{Index: index, Err: err}
	}
	return &failure{m.outcome, err}
}

// repeatsRequest says whether a message may have the signature of the request
// in it. (Refusals of credentials are known to: none of theirs is passed on.)
func repeatsRequest(message string) bool {
	lower := strings.ToLower(message)
	return strings.Contains(lower, "sig=") || strings.Contains(lower, "sharedkey") || strings.Contains(lower, "bearer ")
}

// operation is the index of the refused operation: the one that is named, or
// the only one.
func (r refusal) operation(n int) (int, bool) {
	if r.index >= 0 {
		return r.index, r.index < n
	}
	return 0, n == 1
}

func concernsOne(m meaning) bool {
	for _, e := range []error{store.ErrExists, store.ErrNotFound, store.ErrStale, store.ErrTooLarge, store.ErrInvalid} {
		if errors.Is(m.err, e) {
			return m.outcome == refused
		}
	}
	return false
}
