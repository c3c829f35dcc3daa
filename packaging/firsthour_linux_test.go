package packaging

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What docs/first-hour.md tells an operator to type does what it says, in a machine
// that has nothing but the archives, a certificate and Prometheus.
func TestFirstHour(t *testing.T) {
	m := boot(t)
	o := newOperator(m)
	o.supply()
	prometheus := o.supplyPrometheus()
	answers := 0
	var waiting *terminal
	for _, b := range blocks(t, "../docs/first-hour.md") {
		kind, mark, _ := strings.Cut(b.kind, " ") // "prometheus" needs it
		switch {
		case kind == "text" && mark == "":
			answers++
			o.compare(b)
		case kind == "text":
			answers++
			o.second.shows(t, b.body)
		case mark == "prometheus" && !prometheus:
		case kind == "yaml":
			m.write(prometheusConfig, prometheusBefore+b.body, 0o644)
		case mark == "second terminal":
			o.second = newTerminal(m, b.body)
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the second terminal shows\n%s", &o.second.said)
				}
			})
		case mark == "fails while a client waits":
			waiting = o.whileAClientWaits(b)
		case mark == "under load":
			o.underLoad(b)
		default:
			o.do(b)
		}
	}
	if answers < 15 {
		t.Errorf("only %d answers were compared", answers)
	}
	waiting.shows(t, "ok\n")
	o.wantClean()
}

// A block is a fenced one of a document. The words after its language say how it is to
// be typed: "look" again until it shows what is documented, "fails" with an error.
type block struct{ kind, body string }

func blocks(t *testing.T, document string) (found []block) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range regexp.MustCompile("(?ms)^```([a-z ]+)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, block{b[1], strings.ReplaceAll(b[2], "linux-amd64", "linux-"+runtime.GOARCH)})
	}
	return found
}

// documented makes an expression of an answer, in which P1 is any position and T any
// time.
func documented(answer string) *regexp.Regexp {
	e := regexp.QuoteMeta(answer)
	e = regexp.MustCompile(`P\d`).ReplaceAllString(e, `[0-9a-z.]+`)
	return regexp.MustCompile(`^` + regexp.MustCompile(`\bT\b`).ReplaceAllString(e, `[-0-9T:.]+Z?`) + `$`)
}

// An operator types at a terminal of a machine: in one shell, whose folder and
// variables stay.
type operator struct {
	*machine
	stdin  io.Writer
	stdout *bufio.Reader
	last   block  // what was typed
	said   string // the answer to it
	second *terminal
}

// block is where the shell finds what is typed, and end is what ends its answer.
const (
	typed = "/run/typed"
	end   = "\x1e"
)

func newOperator(m *machine) *operator {
	m.t.Helper()
	o := &operator{machine: m}
	shell := m.command(m.t.Context(), "bash", "-o", "pipefail")
	read, write := io.Pipe()
	shell.Stdout, shell.Stderr = write, write
	stdin, err := shell.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() { write.CloseWithError(shell.Wait()) }()
	m.t.Cleanup(func() { stdin.Close() })
	o.stdin, o.stdout = stdin, bufio.NewReader(read)
	fmt.Fprintf(o.stdin, "cd; trap 'echo %sit fails: $BASH_COMMAND' ERR\n", end)
	return o
}

// typeIn has the shell run a script, and returns what it says, and the first command
// that fails.
func (o *operator) typeIn(script string) (said string, failed error) {
	o.t.Helper()
	o.write(typed, script, 0o600)
	fmt.Fprintf(o.stdin, ". %s < /dev/null; echo %s\n", typed, end)
	late := time.AfterFunc(patience, func() { o.init.Process.Kill() })
	defer late.Stop()
	for {
		line, err := o.stdout.ReadString('\n')
		if err != nil {
			o.t.Fatalf("the shell ends: %v; typed was\n%s", err, script)
		}
		text, mark, marked := strings.Cut(line, end)
		said += text
		switch mark = strings.TrimSuffix(mark, "\n"); {
		case !marked:
		case mark == "":
			return said, failed
		case failed == nil:
			failed = errors.New(mark)
		}
	}
}

// do types a block, and holds it to what its kind says of failing.
func (o *operator) do(b block) {
	o.t.Helper()
	said, failed := o.typeIn(b.body)
	if (failed != nil) != strings.Contains(b.kind, " fails") && !strings.HasSuffix(b.kind, " look") {
		o.t.Fatalf("%v; typed was\n%sanswered\n%s", failed, b.body, said)
	}
	o.last, o.said = b, said
}

// compare holds the last answer to what is documented.
func (o *operator) compare(want block) {
	o.t.Helper()
	right := func() error {
		if !documented(want.body).MatchString(o.said) {
			return fmt.Errorf("typed was\n%sanswered\n%sand not, as documented,\n%s", o.last.body, o.said, want.body)
		}
		return nil
	}
	if strings.HasSuffix(o.last.kind, " look") {
		o.eventually("it is as documented", func() error {
			if right() != nil {
				o.do(o.last)
			}
			return right()
		})
	} else if err := right(); err != nil {
		o.t.Fatal(err)
	}
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

// A terminal runs a program that goes on.
type terminal struct {
	m    *machine
	said output
	seen int
}

func newTerminal(m *machine, script string) *terminal {
	m.t.Helper()
	term := &terminal{m: m}
	cmd := m.command(m.t.Context(), "bash", "-c", script)
	cmd.Stdout, cmd.Stderr = &term.said, &term.said
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go cmd.Wait()
	return term
}

// shows waits until the terminal shows some lines that it has not shown before.
func (term *terminal) shows(t *testing.T, lines string) {
	t.Helper()
	want := documented(lines).String()
	e := regexp.MustCompile("(?m)" + strings.TrimSuffix(want, "$"))
	term.m.eventually("the second terminal shows\n"+lines, func() error {
		said := term.said.String()
		at := e.FindStringIndex(said[term.seen:])
		if at == nil {
			return fmt.Errorf("it shows %q", said[term.seen:])
		}
		term.seen += at[1]
		return nil
	})
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
