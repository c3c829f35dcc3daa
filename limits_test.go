package duplex_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The settings in the tables of limits are fields of the types that they name, and their
// defaults are the constants that the packages have for them.
func TestLimitsInOperations(t *testing.T) {
	packages := map[string]*declared{"push": declaredIn(t, "push"), "websocket": declaredIn(t, "websocket")}
	row := regexp.MustCompile("(?m)^\\| [^|]* \\|(?:[^|]*\\|)?? `([A-Za-z.]+)`(?:, `[A-Za-z.]+`)* \\| ([^|]*) \\| [^|]* \\|$")
	compared := 0
	for _, match := range row.FindAllStringSubmatch(readFile(t, "docs/operations.md"), -1) {
		setting, value := match[1], match[2]
		kind, field, ok := strings.Cut(setting, ".")
		pkg := packages["websocket"]
		switch {
		case kind == "http": // net/http's own
			continue
		case !ok && setting == "Registry":
			continue
		case !ok && setting == "HandshakeTimeout":
			kind, field = "AcceptOptions", setting
		case !ok:
			pkg, kind, field = packages["push"], "Server", setting
		case kind == "WebSocket": // of push.Server
			kind = "Options"
		}
		if !pkg.fields[kind+"."+field] {
			t.Errorf("there is no setting %s", setting)
		}
		want, isValue := parseLimit(value)
		got, isConstant := pkg.constants["default"+field]
		if !isValue || !isConstant {
			continue
		}
		compared++
		if got != want {
			t.Errorf("the default of %s is %d, and %s in the document", setting, got, value)
		}
	}
	if compared < 20 {
		t.Errorf("only %d defaults were compared", compared)
	}
}

// parseLimit reads a limit as the document writes it: 10s, 64KiB or 1000.
func parseLimit(text string) (n int64, ok bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return int64(d), true
	}
	number, shift := text, 0
	for suffix, s := range map[string]int{"KiB": 10, "MiB": 20} {
		if before, found := strings.CutSuffix(text, suffix); found {
			number, shift = before, s
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return n << shift, err == nil
}

// declared is what a package has: the fields of its structs, as Type.Field, and the
// values of its constants of numbers and times.
type declared struct {
	fields    map[string]bool
	constants map[string]int64
}

func declaredIn(t *testing.T, folder string) *declared {
	t.Helper()
	d := &declared{map[string]bool{}, map[string]int64{}}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					for _, field := range s.Fields.List {
						for _, name := range field.Names {
							d.fields[n.Name.Name+"."+name.Name] = true
						}
					}
				}
			case *ast.ValueSpec:
				for i := range min(len(n.Names), len(n.Values)) {
					if v, ok := constant.Int64Val(constant.ToInt(valueOf(n.Values[i]))); ok {
						d.constants[n.Names[i].Name] = v
					}
				}
			}
			return true
		})
	}
	return d
}

// valueOf returns the value of an expression of numbers and times.
func valueOf(e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.INT {
			return constant.MakeFromLiteral(e.Value, e.Kind, 0)
		}
	case *ast.SelectorExpr:
		units := map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}
		if unit, ok := units[e.Sel.Name]; ok {
			return constant.MakeInt64(int64(unit))
		}
	case *ast.BinaryExpr:
		x, y := valueOf(e.X), valueOf(e.Y)
		switch {
		case x.Kind() != constant.Int || y.Kind() != constant.Int:
		case e.Op == token.SHL:
			shift, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(shift))
		case e.Op == token.MUL:
			return constant.BinaryOp(x, e.Op, y)
		}
	}
	return constant.MakeUnknown()
}
