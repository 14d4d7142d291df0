// Package access decides who may do what. A request shows a credential (Present);
// the Gate judges it (Judge) and says what it grants, and whether that is enough for
// a route (Admit) or a device. Rooms that know of devices ask the Grant that the
// request's context has.
package access

import (
	"context"
	"strings"
)

// Scope is a set of what a credential allows.
type Scope uint8

// The scopes. Admin includes the others.
const (
	Write Scope = 1 << iota
	Read
	Admin
)

var scopeNames = []struct {
	scope Scope
	name  string
}{{Write, "write"}, {Read, "read"}, {Admin, "admin"}}

// ParseScope reads the name of one scope.
func ParseScope(name string) (Scope, bool) {
	for _, s := range scopeNames {
		if s.name == name {
			return s.scope, true
		}
	}
	return 0, false
}

// String is the names of the scopes of the set.
func (s Scope) String() string {
	var names []string
	for _, n := range scopeNames {
		if s&n.scope != 0 {
			names = append(names, n.name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, "+")
}

// Reach is the devices that a credential is for. The zero Reach is all of them.
type Reach struct {
	id    string
	exact bool
}

// Device reaches one device, Prefix all whose ids begin with it.
func Device(id string) Reach { return Reach{id, true} }

// Prefix reaches the devices whose ids begin with prefix; an empty one is all.
func Prefix(prefix string) Reach { return Reach{prefix, false} }

// Has says whether a device is reached.
func (r Reach) Has(device string) bool {
	if r.exact {
		return device == r.id
	}
	return strings.HasPrefix(device, r.id)
}

// String is the reach in words.
func (r Reach) String() string {
	switch {
	case r.exact:
		return "device " + r.id
	case r.id == "":
		return "all devices"
	}
	return "devices " + r.id + "*"
}

// Grant is what a credential allows. The zero Grant allows nothing.
type Grant struct {
	scope Scope
	reach Reach
	id    string
}

// Everything is what everybody may do where access control is off.
func Everything() Grant { return Grant{scope: Admin} }

// May says whether the grant has a scope, for some devices at least.
func (g Grant) May(s Scope) bool { return g.scope&(s|Admin) != 0 }

// IsAdmin says whether there is nothing that it does not allow.
func (g Grant) IsAdmin() bool { return g.scope&Admin != 0 }

// MayWrite says whether readings of a device may be brought.
func (g Grant) MayWrite(device string) bool {
	return g.IsAdmin() || g.scope&Write != 0 && g.reach.Has(device)
}

// ReadPrefix is what the ids of all devices begin with that may be read; ok, if any
// may.
func (g Grant) ReadPrefix() (prefix string, ok bool) {
	switch {
	case g.IsAdmin():
		return "", true
	case g.scope&Read == 0 || g.reach.exact:
		return "", false
	}
	return g.reach.id, true
}

// Device is the only device that the grant is for; "" where that is not one.
func (g Grant) Device() string {
	if g.IsAdmin() || !g.reach.exact {
		return ""
	}
	return g.reach.id
}

// ID tells credentials apart: the same for each request with the same one, another
// for another, "" where access control is off. It is no secret.
func (g Grant) ID() string { return g.id }

// String is the grant in words.
func (g Grant) String() string { return g.scope.String() + " for " + g.reach.String() }

type grantKey struct{}

// With gives a request's context its grant.
func With(ctx context.Context, g Grant) context.Context {
	return context.WithValue(ctx, grantKey{}, g)
}

// From is the grant of a request; one that allows nothing if nobody judged it.
func From(ctx context.Context) Grant {
	g, _ := ctx.Value(grantKey{}).(Grant)
	return g
}
