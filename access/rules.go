package access

// Need is what a route asks of a grant.
type Need uint8

// The needs.
const (
	// NeedAdmin is also that of a route that the table below does not have.
	NeedAdmin Need = iota
	NeedRead
	NeedWrite
	NeedAny    // any credential
	NeedNobody // not even that
)

// public are the paths that ask for no credential, whatever the method.
var public = map[string]bool{
	"/": true, "/healthz": true, "/readyz": true, "/ping": true, "/health": true, "/api/v1/openapi.json": true,
}

// IsPublic says whether a path asks for no credential.
func IsPublic(path string) bool { return public[path] }

// needs are the routes by method and pattern, as the router has them.
var needs = map[string]Need{
	"POST /api/v1/telemetry":                   NeedWrite,
	"POST /api/v1/devices/:deviceId/telemetry": NeedWrite,
	"DELETE /api/v1/devices/:deviceId":         NeedAdmin,
	"POST /api/v1/devices/:deviceId/block":     NeedAdmin,
	"POST /api/v1/devices/:deviceId/unblock":   NeedAdmin,
	"GET /api/v1/devices":                      NeedRead,
	"GET /api/v1/devices/:id":                  NeedRead,
	"GET /api/v1/devices/:id/latest":           NeedRead,
	"GET /api/v1/devices/:id/readings":         NeedRead,
	"GET /api/v1/devices/:id/aggregates":       NeedRead,
	"GET /api/v1/aggregates":                   NeedRead,
	"GET /api/v1/status":                       NeedRead,
	"GET /api/v1/deadletters":                  NeedAdmin,
	"GET /api/v1/deadletters/:id":              NeedAdmin,
	"DELETE /api/v1/deadletters/:id":           NeedAdmin,
	"POST /api/v1/deadletters/:id/replay":      NeedAdmin,
	"POST /compact":                            NeedAdmin,
	"POST /consume":                            NeedAdmin,
}

// NeedOf is what a route asks for. HEAD is GET without a body.
func NeedOf(method, pattern string) Need {
	if method == "HEAD" {
		method = "GET"
	}
	if IsPublic(pattern) {
		return NeedNobody
	}
	return needs[method+" "+pattern]
}

// scope is what a grant must have for a need; 0: anything.
func (n Need) scope() Scope {
	switch n {
	case NeedRead:
		return Read
	case NeedWrite:
		return Write
	case NeedAdmin:
		return Admin
	}
	return 0
}
