package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

// Why the hub did not do what was asked. A context's own end is its error.
var (
	// ErrInvalid says that the configuration is wrong.
	ErrInvalid = errors.New("invalid configuration of the event hub")
	// ErrUnavailable says that the hub did not answer, or could not.
	ErrUnavailable = errors.New("event hub is not available")
	// ErrBusy says that the hub throttles.
	ErrBusy = errors.New("event hub is busy")
	// ErrDenied says that the key or the identity may not do that.
	ErrDenied = errors.New("event hub denies access")
	// ErrGone says that there is no such hub, partition or consumer group, or that
	// it is disabled.
	ErrGone = errors.New("event hub, partition or consumer group does not exist")
	// ErrTooLarge says that a body is larger than MaxBody.
	ErrTooLarge = errors.New("event is too large")
	// ErrTaken says that another reader of the consumer group has the partition.
	ErrTaken = errors.New("partition is read by somebody else")
)

// conditions are those of AMQP and of the service that mean more than that
// something broke.
var conditions = map[amqp.ErrCond]error{
	"com.microsoft:server-busy":           ErrBusy,
	"com.microsoft:container-close":       ErrUnavailable,
	"com.microsoft:timeout":               ErrUnavailable,
	"com.microsoft:auth-failed":           ErrDenied,
	amqp.ErrCondUnauthorizedAccess:        ErrDenied,
	"com.microsoft:entity-disabled":       ErrGone,
	"com.microsoft:argument-out-of-range": ErrGone,
	amqp.ErrCondNotFound:                  ErrGone,
	amqp.ErrCondResourceDeleted:           ErrGone,
	amqp.ErrCondMessageSizeExceeded:       ErrTooLarge,
	amqp.ErrCondStolen:                    ErrTaken,
	amqp.ErrCondResourceLimitExceeded:     ErrBusy, // five readers of a group, or the quota of the namespace
}

// explain wraps what the SDK said into what it means. ctx is the caller's: its
// end is no fault of the hub's.
func explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("event hub: %w", ctx.Err())
	}
	if m := meaning(err); !errors.Is(err, m) {
		return fmt.Errorf("%w: %w", m, err)
	}
	return err
}

// meaning is the sentinel that fits an error best.
func meaning(err error) error {
	for _, known := range []error{ErrUnavailable, ErrBusy, ErrDenied, ErrGone, ErrTooLarge, ErrTaken} {
		if errors.Is(err, known) {
			return known
		}
	}
	if errors.Is(err, azeventhubs.ErrEventDataTooLarge) {
		return ErrTooLarge
	}
	var service *amqp.Error
	if errors.As(err, &service) {
		if known, ok := conditions[service.Condition]; ok {
			return known
		}
	}
	var own *azeventhubs.Error
	if errors.As(err, &own) {
		switch own.Code {
		case azeventhubs.ErrorCodeUnauthorizedAccess:
			return ErrDenied
		case azeventhubs.ErrorCodeOwnershipLost:
			return ErrTaken
		case azeventhubs.ErrorCodeConnectionLost:
			// It hides why, but for its text. A reader that is refused when it is
			// opened is one of these.
			if strings.Contains(own.Error(), string(amqp.ErrCondStolen)) {
				return ErrTaken
			}
		}
	}
	// $cbs and $management answer as HTTP does.
	var answer interface {
		error
		RPCCode() int
	}
	if errors.As(err, &answer) {
		return ofStatus(answer.RPCCode())
	}
	var identity *azidentity.AuthenticationFailedError
	if errors.As(err, &identity) && identity.RawResponse != nil && identity.RawResponse.StatusCode < http.StatusInternalServerError {
		return ErrDenied
	}
	return ErrUnavailable
}

func ofStatus(status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrDenied
	case http.StatusNotFound, http.StatusGone:
		return ErrGone
	case http.StatusTooManyRequests:
		return ErrBusy
	default:
		return ErrUnavailable
	}
}
