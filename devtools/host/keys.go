package host

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// keys are what a JSON object may have: nil where anything goes. A host
// ignores silently what it does not know, so that a switch that is misspelt or
// in the wrong place is off: here that is a warning.
type keys map[string]any // keys, list or nil

// list is an array of objects that have these keys.
type list struct{ of keys }

var hostKeys = keys{
	"version": nil, "functionTimeout": nil, "logging": nil, "aggregator": nil, "concurrency": nil, "extensionBundle": nil,
	"functions": nil, "healthMonitor": nil, "managedDependency": nil, "singleton": nil, "telemetryMode": nil,
	"watchDirectories": nil, "watchFiles": nil, "$schema": nil,
	"extensions": keys{
		"http": keys{
			"routePrefix": nil, "maxOutstandingRequests": nil, "maxConcurrentRequests": nil, "dynamicThrottlesEnabled": nil,
			"hsts": nil, "customHeaders": nil,
		},
		"eventHubs": keys{
			"maxEventBatchSize": nil, "minEventBatchSize": nil, "maxWaitTime": nil, "prefetchCount": nil, "batchCheckpointFrequency": nil,
			"initialOffsetOptions": keys{"type": nil, "enqueuedTimeUtc": nil},
			"clientRetryOptions":   keys{"mode": nil, "tryTimeout": nil, "delay": nil, "maximumDelay": nil, "maximumRetries": nil},
			"transportType":        nil, "webProxy": nil, "customEndpointAddress": nil, "targetUnprocessedEventThreshold": nil,
			"trackLastEnqueuedEventProperties": nil, "loadBalancingUpdateInterval": nil, "partitionOwnershipExpirationInterval": nil, "enableCheckpointing": nil,
		},
		"blobs": nil, "queues": nil, "serviceBus": nil, "durableTask": nil, "cosmosDB": nil, "tables": nil,
	},
	"customHandler": keys{
		"description": keys{
			"defaultExecutablePath": nil, "defaultWorkerPath": nil, "arguments": nil, "workerArguments": nil,
			"workingDirectory": nil, "workerDirectory": nil, "useStdErrorStreamForErrorsOnly": nil, "language": nil,
		},
		"enableForwardingHttpRequest": nil, "enableProxyingHttpRequest": nil, "type": nil, "initializationTimeout": nil,
	},
}

var functionKeys = keys{
	"disabled": nil, "scriptFile": nil, "entryPoint": nil, "configurationSource": nil, "generatedBy": nil, "$schema": nil,
	"retry": keys{
		"strategy": nil, "maxRetryCount": nil, "delayInterval": nil, "minimumInterval": nil, "maximumInterval": nil,
	},
	"bindings": list{keys{
		"name": nil, "type": nil, "direction": nil, "authLevel": nil, "methods": nil, "route": nil, "schedule": nil,
		"runOnStartup": nil, "useMonitor": nil, "eventHubName": nil, "connection": nil, "consumerGroup": nil,
		"cardinality": nil, "dataType": nil, "webHookType": nil,
	}},
}

// check returns what is not known in a JSON text.
func (k keys) check(text []byte) (warnings []string, err error) {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	k.walk(value, "", k, &warnings)
	slices.Sort(warnings)
	return warnings, nil
}

func (k keys) walk(value any, path string, known any, warnings *[]string) {
	switch known := known.(type) {
	case keys:
		object, ok := value.(map[string]any)
		if !ok {
			*warnings = append(*warnings, fmt.Sprintf("%s: an object would be right", path))
			return
		}
		for name, inner := range object {
			below := strings.TrimPrefix(path+"."+name, ".")
			canonical, ok := known.find(name)
			if !ok {
				*warnings = append(*warnings, k.unknown(name, below))
				continue
			}
			k.walk(inner, below, known[canonical], warnings)
		}
	case list:
		array, _ := value.([]any)
		for i, inner := range array {
			k.walk(inner, fmt.Sprintf("%s[%d]", path, i), known.of, warnings)
		}
	}
}

// find looks a name up as a host does, regardless of case.
func (k keys) find(name string) (string, bool) {
	for known := range k {
		if strings.EqualFold(known, name) {
			return known, true
		}
	}
	return "", false
}

// unknown says what is ignored, and where it would belong.
func (k keys) unknown(name, path string) string {
	if places := k.places(name, ""); len(places) > 0 {
		return fmt.Sprintf("%s is ignored here: it belongs to %s", path, strings.Join(places, " or "))
	}
	return path + " is not known: a host ignores it"
}

func (k keys) places(name, path string) (places []string) {
	for known, inner := range k {
		below := strings.TrimPrefix(path+"."+known, ".")
		if strings.EqualFold(known, name) {
			places = append(places, below)
		}
		switch inner := inner.(type) {
		case keys:
			places = append(places, inner.places(name, below)...)
		case list:
			places = append(places, inner.of.places(name, below+"[]")...)
		}
	}
	slices.Sort(places)
	return places
}
