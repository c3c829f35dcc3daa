package packaging

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What docs/first-hour.md tells an operator to type does what it says, in a machine
// that has nothing but the archives, a certificate and Prometheus.
func TestFirstHour(t *testing.T) {
	o := newOperator(boot(t))
	o.supply()
	prometheus := o.supplyPrometheus()
	answers := 0
	var second, waiting *terminal
	for _, b := range blocks(t, "../docs/first-hour.md") {
		if b.is("text") {
			answers++
		}
		switch {
		case b.is("prometheus") && !prometheus:
		case b.is("yaml"):
			o.write(prometheusConfig, prometheusBefore+b.body, 0o644)
		case b.is("text") && b.is("second"):
			second.shows(b.body)
		case b.is("text"):
			o.compare(b)
		case b.is("second"):
			second = newTerminal(o.machine, b.body)
		case b.is("waits"):
			waiting = o.whileAClientWaits(b)
		case b.is("load"):
			o.underLoad(b)
		default:
			o.do(b)
		}
	}
	if answers < 15 {
		t.Errorf("only %d answers were compared", answers)
	}
	waiting.shows("ok\n")
	o.wantClean()
}

// defaultStarts is how many starts within ten seconds systemd allows if a unit does not
// say otherwise.
const defaultStarts = 5

// whileAClientWaits types a block that has the server fail to start, and has a client
// connect, which gets no answer yet. systemd must not give up the server and the socket.
func (o *operator) whileAClientWaits(b block) *terminal {
	o.t.Helper()
	o.do(b)
	client := newTerminal(o.machine, "exec curl -s https://"+host+"/healthz")
	o.eventually("the server is started again and again", func() error {
		said, failed := o.typeIn("systemctl show -p NRestarts --value duplex.service")
		if n, err := strconv.Atoi(strings.TrimSpace(said)); err != nil || n <= defaultStarts {
			return fmt.Errorf("%d restarts, %v, %v", n, err, failed)
		}
		return nil
	})
	return client
}

const (
	host    = "push.example.com"
	trusted = "/etc/ssl/certs/ca-certificates.crt"
)

// supply puts into the machine what the operator is supposed to have.
func (o *operator) supply() {
	o.t.Helper()
	cert, key, ca := certificate(o.t)
	o.write(trusted, ca, 0o644)
	o.write("/etc/hosts", "127.0.0.1 localhost machine "+host+"\n", 0o644)
	folder := o.t.TempDir()
	for _, version := range []string{"v1.2.3", "v1.2.4"} {
		if out, err := exec.CommandContext(o.t.Context(), "./release", version, folder, "linux/"+runtime.GOARCH).CombinedOutput(); err != nil {
			o.t.Fatalf("%v: %s", err, out)
		}
		name := "duplex-" + version + "-linux-" + runtime.GOARCH
		o.write("/root/"+name+"/fullchain.pem", cert, 0o600)
		o.write("/root/"+name+"/privkey.pem", key, 0o600)
		for _, file := range []string{name + ".tar.gz", "duplex-" + version + "-sha256.txt"} {
			o.copy(filepath.Join(folder, file), "/root/"+file)
		}
	}
}

const (
	prometheusConfig = "/etc/prometheus/prometheus.yml"
	prometheusBefore = "global: {scrape_interval: 1s}\n"
)

// supplyPrometheus starts the Prometheus of this system in the machine, and reports
// whether there is one.
func (o *operator) supplyPrometheus() bool {
	o.t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		if os.Getenv("CI") != "" {
			o.t.Fatal("prometheus is not installed, and CI must have it")
		}
		o.t.Log("prometheus is not installed: its part is left out")
		return false
	}
	o.write(prometheusConfig, prometheusBefore, 0o644)
	o.copy("/etc/default/prometheus", "/etc/default/prometheus")
	said, failed := o.typeIn(`
		systemd-sysusers --inline 'u prometheus - "" /var/lib/prometheus'
		install -d -o prometheus -g prometheus /var/lib/prometheus/metrics2
		systemctl start prometheus
	`)
	if failed != nil {
		o.t.Fatalf("%v: %s", failed, said)
	}
	return true
}

func (o *operator) copy(from, to string) {
	o.t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		o.t.Fatal(err)
	}
	o.write(to, string(text), 0o644)
}

// certificate makes one for the host, with its key and who has signed it.
func certificate(t *testing.T) (cert, key, ca string) {
	t.Helper()
	made := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (string, *ecdsa.PrivateKey) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = own
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &own.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), own
	}
	template := func(name string, serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial),
			Subject:      pkix.Name{CommonName: name},
			NotBefore:    time.Now().Add(-time.Hour),
			NotAfter:     time.Now().Add(24 * time.Hour),
		}
	}
	root, leaf := template("a CA for a test", 1), template(host, 2)
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf.DNSNames, leaf.ExtKeyUsage = []string{host}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	ca, signer := made(root, root, nil)
	cert, own := made(leaf, root, signer)
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), ca
}

// wantClean checks that nothing is left of the installation.
func (o *operator) wantClean() {
	o.t.Helper()
	left, _ := o.typeIn("find /etc /usr/local /var /run -iname '*duplex*' ! -path '*/prometheus/*'; systemctl list-units --all --plain --no-legend 'duplex*'; getent passwd duplex")
	if left != "" {
		o.t.Errorf("after it was taken out there is still\n%s", left)
	}
}
