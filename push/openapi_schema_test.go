package push_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A spec is the document of the HTTP API, as it is served.
type spec map[string]any

// object is what a JSON object becomes.
type object = map[string]any

// at returns what is at a path of members, nil if nothing is.
func at(v any, path ...string) any {
	for _, name := range path {
		o, _ := v.(object)
		v = o[name]
	}
	return v
}

// resolve follows the reference that a value is, if it is one.
func (s spec) resolve(v any) any {
	for {
		ref, ok := at(v, "$ref").(string)
		if !ok {
			return v
		}
		path, ok := strings.CutPrefix(ref, "#/")
		if v = at(object(s), strings.Split(path, "/")...); !ok || v == nil {
			panic("nothing is at " + ref)
		}
	}
}

// keywords are those of JSON Schema that the document may use: check knows them.
var keywords = []string{
	"type", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "format", "required", "properties", "additionalProperties",
	"items", "minItems", "maxItems", "oneOf", "description", "examples", "default",
}

// check says where a value does not fit a schema.
func (s spec) check(schema, value any) error {
	o := s.resolve(schema).(object)
	for keyword := range o {
		if !slices.Contains(keywords, keyword) {
			return fmt.Errorf("the schema has %q, which this test does not know", keyword)
		}
	}
	if want, ok := o["const"]; ok && !reflect.DeepEqual(value, want) {
		return fmt.Errorf("%v is not %v", value, want)
	}
	if kinds, ok := o["type"].(string); ok && !isA(value, kinds) {
		return fmt.Errorf("%v is no %s", value, kinds)
	}
	if choices, ok := o["oneOf"].([]any); ok {
		var errs []error
		for _, choice := range choices {
			if err := s.check(choice, value); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) != len(choices)-1 {
			return fmt.Errorf("%v fits %d of the choices: %w", value, len(choices)-len(errs), errors.Join(errs...))
		}
	}
	switch value := value.(type) {
	case string:
		return checkString(o, value)
	case float64:
		return within(o, value, "minimum", "maximum")
	case []any:
		for i, item := range value {
			if err := s.check(orAny(o["items"]), item); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return within(o, float64(len(value)), "minItems", "maxItems")
	case object:
		return s.checkObject(o, value)
	}
	return nil
}

func orAny(schema any) any {
	if schema == nil {
		return object{}
	}
	return schema
}

func isA(value any, kind string) bool {
	switch v := value.(type) {
	case string:
		return kind == "string"
	case float64:
		return kind == "number" || kind == "integer" && v == float64(int64(v))
	case []any:
		return kind == "array"
	case object:
		return kind == "object"
	}
	return false
}

func within(o object, n float64, least, most string) error {
	if min, ok := o[least].(float64); ok && n < min {
		return fmt.Errorf("%v is less than %v", n, min)
	}
	if max, ok := o[most].(float64); ok && n > max {
		return fmt.Errorf("%v is more than %v", n, max)
	}
	return nil
}

func checkString(o object, value string) error {
	if pattern, ok := o["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(value) {
		return fmt.Errorf("%.100q does not match %s", value, pattern)
	}
	if _, err := time.Parse(time.RFC3339, value); o["format"] == "date-time" && err != nil {
		return err
	}
	return within(o, float64(utf8.RuneCountInString(value)), "minLength", "maxLength")
}

func (s spec) checkObject(o, value object) error {
	required, _ := o["required"].([]any)
	for _, name := range required {
		if _, ok := value[name.(string)]; !ok {
			return fmt.Errorf("%s is missing in %v", name, value)
		}
	}
	for name, member := range value {
		schema := at(o, "properties", name)
		switch {
		case schema == nil && o["additionalProperties"] == false:
			return fmt.Errorf("nothing is said of %s", name)
		case schema == nil:
			continue
		}
		if err := s.check(schema, member); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// checkText is check for what a server has answered.
func (s spec) checkText(schema any, kind, text string) error {
	if !strings.HasSuffix(kind, "json") {
		return s.check(schema, text)
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	return s.check(schema, value)
}
