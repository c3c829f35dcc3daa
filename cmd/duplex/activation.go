package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// The environment by which a service manager hands over its sockets, and hears how the
// service is: sd_listen_fds(3), sd_notify(3).
const (
	envListenPID    = "LISTEN_PID"
	envListenFDs    = "LISTEN_FDS"
	envListenNames  = "LISTEN_FDNAMES"
	envNotifySocket = "NOTIFY_SOCKET"

	firstPassed = 3 // the descriptor of the first socket
)

// activated returns the socket that this process was started with by socket
// activation, nil if it was started without. The variables are gone after it: they
// are for nobody who is started from here.
func activated() (net.Listener, error) {
	pid, count := os.Getenv(envListenPID), os.Getenv(envListenFDs)
	for _, name := range []string{envListenPID, envListenFDs, envListenNames} {
		os.Unsetenv(name)
	}
	if count == "" || pid != strconv.Itoa(os.Getpid()) { // they are another's
		return nil, nil
	}
	if count != "1" {
		return nil, fmt.Errorf("the service manager passes %s sockets, and this command serves one: leave one ListenStream= in the socket's unit", count)
	}
	file := os.NewFile(firstPassed, "the passed socket")
	defer file.Close() // the listener has a descriptor of its own
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("the socket that the service manager passes cannot be used: %w", err)
	}
	if _, ok := ln.Addr().(*net.TCPAddr); !ok {
		ln.Close()
		return nil, errors.New("the socket that the service manager passes is not one of TCP: ListenStream= is a port or HOST:PORT")
	}
	return ln, nil
}

// notify tells the service manager, if there is one, what state the service is in:
// READY=1, STOPPING=1.
func notify(state string) {
	path := os.Getenv(envNotifySocket)
	if path == "" {
		return
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		return // it will say itself that it has heard nothing
	}
	defer conn.Close()
	conn.Write([]byte(state))
}
