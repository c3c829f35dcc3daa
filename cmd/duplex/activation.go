package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
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

// Sockets are told apart by their names, FileDescriptorName= in systemd.socket(5). One
// has the name of the flag that it stands for; any other stands for --listen, since
// without a name of its own a socket has that of its unit.
const redirectSocket = "redirect-from"

// passedSockets are those that this process was started with by socket activation: nil
// where it was started without.
type passedSockets struct{ listen, redirect net.Listener }

func (p *passedSockets) close() {
	for _, ln := range []net.Listener{p.listen, p.redirect} {
		if ln != nil {
			ln.Close()
		}
	}
}

// activated takes what the service manager passes. The variables are gone after it: they
// are for nobody who is started from here.
func activated() (*passedSockets, error) {
	pid, count, names := os.Getenv(envListenPID), os.Getenv(envListenFDs), strings.Split(os.Getenv(envListenNames), ":")
	for _, name := range []string{envListenPID, envListenFDs, envListenNames} {
		os.Unsetenv(name)
	}
	p := new(passedSockets)
	if count == "" || pid != strconv.Itoa(os.Getpid()) { // they are another's
		return p, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("the service manager passes %q sockets, which is no number of them", count)
	}
	for i := range n {
		place, flag := &p.listen, "--listen"
		if i < len(names) && names[i] == redirectSocket {
			place, flag = &p.redirect, "--"+redirectSocket
		}
		if *place != nil {
			p.close()
			return nil, fmt.Errorf("the service manager passes %d sockets, more than one of them for %s: leave one ListenStream= in the socket's unit; the one at port 80 has a unit of its own, with FileDescriptorName=%s", n, flag, redirectSocket)
		}
		if *place, err = socketAt(firstPassed + i); err != nil {
			p.close()
			return nil, fmt.Errorf("the socket for %s that the service manager passes %w", flag, err)
		}
	}
	return p, nil
}

// socketAt takes the socket of TCP that a descriptor is.
func socketAt(descriptor int) (net.Listener, error) {
	file := os.NewFile(uintptr(descriptor), "the passed socket")
	defer file.Close() // the listener has a descriptor of its own
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("cannot be used: %w", err)
	}
	if _, ok := ln.Addr().(*net.TCPAddr); !ok {
		ln.Close()
		return nil, errors.New("is not one of TCP: ListenStream= is a port or HOST:PORT")
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
