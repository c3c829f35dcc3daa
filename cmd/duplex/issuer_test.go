package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"strconv"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// asIssuer is the variable that makes the test's program an issuer of certificates by
// ACME. It has a process of its own since it cannot be ended.
const asIssuer = "DUPLEX_TEST_AS_ISSUER"

// issuer issues certificates for all hosts, which it looks for on this machine, over
// HTTP and TLS at the ports of its first two arguments. It prints the URL of its
// directory; its own certificate and its root are in the files of the other arguments.
// It ends with its input.
func issuer() {
	httpPort, err := strconv.Atoi(os.Args[1])
	check(err)
	tlsPort, err := strconv.Atoi(os.Args[2])
	check(err)
	names, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go (&dns.Server{Listener: names, Handler: dns.HandlerFunc(here)}).ActivateAndServe()

	quiet := log.New(os.Stderr, "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: 90 * 24 * 3600}})
	validator := va.New(quiet, httpPort, tlsPort, false, names.Addr().String(), store)
	front := wfe.New(quiet, store, validator, authority, []string{"issuer.test"}, false, false, 1, 1)
	server := httptest.NewUnstartedServer(front.Handler())
	server.TLS = &tls.Config{}
	server.StartTLS()
	check(os.WriteFile(os.Args[3], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	check(os.WriteFile(os.Args[4], authority.GetRootCert(0).PEM(), 0o600))
	fmt.Println(server.URL + wfe.DirectoryPath)
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// here answers that every name is this machine.
func here(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg).SetReply(question)
	for _, q := range question.Question {
		if q.Qtype == dns.TypeA {
			answer.Answer = append(answer.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
		}
	}
	w.WriteMsg(answer)
}
