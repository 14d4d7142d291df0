package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"sluice/internal/importer"
	"sluice/internal/settings"
)

// Exit codes of the process.
const (
	exitStopped = 0 // it was asked to stop, or a command did all of its work
	exitFailed  = 1
	exitWrong   = 2 // wrong settings or arguments
)

// world is what a command may touch of the world around the process.
type world struct {
	ctx            context.Context
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// commands is the command line.
type commands struct {
	Serve       serveCommand   `cmd:"" default:"1" help:"Serve (the default). Settings come from the environment, see docs/operations.md."`
	Import      importCommand  `cmd:"" help:"Send CSV or NDJSON files to a service, or straight into the store."`
	Deadletters lettersCommand `cmd:"" help:"List, show, replay and drop events of the hub that could not be taken."`
	Token       tokenCommand   `cmd:"" help:"Make a token with the keys of SLUICE_KEYS, and print it."`
	Version     versionCommand `cmd:"" help:"Print the version."`
}

// exit is how kong's wish to end the process travels up to Run.
type exit int

// Run does what the arguments say until it is done or ctx ends, and returns
// the exit code. environ has "NAME=value" strings.
func Run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			wish, ok := r.(exit)
			if !ok {
				panic(r)
			}
			code = int(wish)
		}
	}()
	parser, err := kong.New(&commands{},
		kong.Name("handler"),
		kong.Description("Sluice keeps the telemetry of a fleet and answers queries over it."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exit(code)) }),
	)
	if err != nil {
		panic(err) // a fault of the struct above
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "handler: %v (see handler --help)\n", err)
		return exitWrong
	}
	if err := command.Run(&world{ctx, environ, stdin, stdout, stderr}, &code); err != nil {
		return tell(stderr, err)
	}
	return code
}

// tell says why a command failed, and returns the exit code that it means.
func tell(stderr io.Writer, err error) int {
	var problems settings.Problems
	switch {
	case errors.As(err, &problems):
		fmt.Fprintln(stderr, problems)
		return exitWrong
	case errors.Is(err, importer.ErrConfig), errors.Is(err, errToken), errors.Is(err, errCredential), isWrongSetting(err):
		fmt.Fprintf(stderr, "handler: %v\n", err)
		return exitWrong
	default:
		fmt.Fprintf(stderr, "handler: %v\n", err)
		return exitFailed
	}
}
