package server

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/duplexgo/duplex/bench/control"
)

// ChildArg, as the first argument, makes this program a contestant; see Main.
const ChildArg = "serve-contestant"

// A Config is what a contestant's process is told, as JSON in its second argument.
type Config struct {
	Name string
	TLS  bool

	Deflate *Deflate `json:",omitempty"` // nil: no compression
}

// An Address is the line that a contestant prints when it is ready, as JSON.
type Address struct {
	Addr    string         // of the paths, host:port
	Control control.Client // URL
}

// Main is the contestant's process. It ends when its standard input does, so none
// outlives the process that has started it.
func Main(config string) error {
	var o Config
	if err := json.Unmarshal([]byte(config), &o); err != nil {
		return err
	}
	c, err := Find(o.Name)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := ln.Addr().String()
	serve := c.Serve
	if o.Deflate != nil {
		if serve, err = c.deflate(*o.Deflate); err != nil {
			return err
		}
	}
	if o.TLS {
		if c.Floor {
			return fmt.Errorf("%s does not speak TLS", o.Name)
		}
		cert, err := selfSigned()
		if err != nil {
			return err
		}
		if c.ServeTLS != nil {
			serve = func(ln net.Listener) error { return c.ServeTLS(ln, cert) }
		} else {
			ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}})
		}
	}
	aside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ended := make(chan error, 3)
	go func() { ended <- http.Serve(aside, control.Handler()) }()
	go func() { ended <- serve(ln) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	err = json.NewEncoder(os.Stdout).Encode(Address{addr, control.Client("http://" + aside.Addr().String())})
	if err != nil {
		return err
	}
	return <-ended
}

// selfSigned makes a certificate of the kind that most servers have today.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A Process is a contestant that runs.
type Process struct {
	Address
	PID int

	cmd   *exec.Cmd
	stdin io.Closer
}

// Start runs a contestant as a child process: this program again, with ChildArg.
func Start(o Config) (*Process, error) {
	config, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, ChildArg, string(config))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{PID: cmd.Process.Pid, cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.Address)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("contestant %s did not start: %w", o.Name, err), p.Stop())
	}
	return p, nil
}

// Stop ends the process. It returns an error if the process had failed.
func (p *Process) Stop() error {
	p.stdin.Close()
	late := time.AfterFunc(10*time.Second, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	return p.cmd.Wait()
}
