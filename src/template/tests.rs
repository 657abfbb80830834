//! Tests of the language, feature by feature. The expected value is the text or the whole error message.

use proptest::prelude::*;
use serde_json::json;

use super::{Content, Template, Typed, Value};

fn render(template: &str) -> String {
    let data = json!({
        "A": "x", "N": 3, "T": true, "Nil": null, "Empty": "", "S": ["a", "b", "c"],
        "M": {"b": 2, "a": 1}, "Deep": {"L1": {"L2": "deep"}}, "Uni": "hé☃",
    });
    render_over(template, &(&data).into())
}

fn render_over(template: &str, value: &Value) -> String {
    match Template::parse(template) {
        Ok(template) => template
            .render(value)
            .unwrap_or_else(|error| error.to_string()),
        Err(error) => error.to_string(),
    }
}

/// Checks pairs of a template and its output.
fn check(pairs: &[(&str, &str)]) {
    for (template, want) in pairs {
        assert_eq!(render(template), *want, "{template}");
    }
}

#[test]
fn text_and_trim_markers() {
    check(&[
        ("plain }} text", "plain }} text"),
        ("a \n{{- .A -}}\t\r\n b", "axb"),
        ("{{-3}}|{{- 3 -}} |", "-3|3|"),
        ("a\u{a0}{{- .A }}", "a\u{a0}x"),
        ("a {{- /* gone */ -}} b", "ab"),
        (
            "x{{ /* c */ }}",
            "template: :1: unexpected \"/\" in command",
        ),
        ("{{/* c", "template: :1: unclosed comment"),
        (
            "{{/* c */ }}",
            "template: :1: comment ends before closing delimiter",
        ),
        ("{{ .A\n}}", "x"),
    ]);
}

#[test]
fn constants() {
    check(&[
        (
            "{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }} {{ 'a' }}",
            "31 5 15 15 1000 97",
        ),
        (
            "{{ 1.5 }} {{ 1e6 }} {{ 1e-5 }} {{ -0.25 }}",
            "1.5 1e+06 1e-05 -0.25",
        ),
        (r#"{{ "a\t\"\x41\u00e9\101" }}{{ `\n` }}"#, "a\t\"AéA\\n"),
        ("{{ 3k }}", "template: :1: bad number syntax: \"3k\""),
        ("{{ \"a }}", "template: :1: unterminated quoted string"),
        (
            "{{ nil }}",
            "template: :1:3: executing \"\" at <nil>: nil is not a command",
        ),
        ("{{ 1.x }}", "template: :1: bad number syntax: \"1.x\""),
    ]);
}

#[test]
fn fields_and_what_is_missing() {
    check(&[
        (
            "{{ .Deep.L1.L2 }} {{ $.Deep.L1.L2 }} {{ (.Deep.L1).L2 }}",
            "deep deep deep",
        ),
        ("[{{ .Nope }}][{{ .Nil }}]", "[<no value>][<no value>]"),
        (
            "a\n {{ .Deep.Nope.X }}",
            "template: :2:9: executing \"\" at <.Deep.Nope.X>: nil pointer evaluating interface {}.X",
        ),
        (
            "{{ .A.B }}",
            "template: :1:5: executing \"\" at <.A.B>: can't evaluate field B in type interface {}",
        ),
        ("{{ .a-b }}", "template: :1: bad character U+002D '-'"),
        ("{{ .. }}", "template: :1: unexpected <.> in operand"),
        ("{{ .A..B }}", "template: :1: unexpected <.> in operand"),
        ("{{ ..A }}", "template: :1: unexpected . after term \".\""),
        (
            "{{ . . }}",
            "template: :1:3: executing \"\" at <.>: can't give argument to non-function .",
        ),
    ]);
    assert_eq!(render_over("[{{ .A.B }}]", &Value::Nil), "[<no value>]");
}

#[test]
fn pipelines() {
    check(&[
        ("{{ .A | printf \"%s-%s\" \"p\" | len }}", "3"),
        (
            "{{ 1 | 2 }}",
            "template: :1: non executable command in pipeline stage 2",
        ),
        (
            "{{ .A | .B }}",
            "template: :1:8: executing \"\" at <.B>: B is not a method but has arguments",
        ),
        ("{{ nope }}", "template: :1: function \"nope\" not defined"),
        ("{{ }}", "template: :1: missing value for command"),
        ("{{ (len .S }}", "template: :1: unclosed left paren"),
        ("{{ len .S) }}", "template: :1: unexpected right paren"),
        ("\n{{ .A", "template: :2: unclosed action"),
        ("{{ .A\n", "template: :2: unclosed action started at :1"),
    ]);
}

/// A list read from JSON has spare capacity, as in Go.
#[test]
fn slices_reach_as_far_as_in_go() {
    check(&[
        ("{{ slice .S 1 }}", "[b c]"),
        (
            "{{ slice .S 4 }}",
            "template: :1:3: executing \"\" at <slice .S 4>: error calling slice: invalid slice index: 4 > 3",
        ),
        (
            "{{ slice .S 5 }}",
            "template: :1:3: executing \"\" at <slice .S 5>: error calling slice: index out of range: 5",
        ),
        ("{{ slice .S 1 4 }}", "[b c <nil>]"),
        (
            "{{ slice (slice .S 1) 0 4 }}",
            "template: :1:3: executing \"\" at <slice (slice .S 1) 0 4>: error calling slice: index out of range: 4",
        ),
        (
            "{{ slice .S 2 1 }}",
            "template: :1:3: executing \"\" at <slice .S 2 1>: error calling slice: invalid slice index: 2 > 1",
        ),
        (
            "{{ slice \"abc\" 4 }}",
            "template: :1:3: executing \"\" at <slice \"abc\" 4>: error calling slice: index out of range: 4",
        ),
        (
            "{{ slice .S -1 }}",
            "template: :1:3: executing \"\" at <slice .S -1>: error calling slice: index out of range: -1",
        ),
    ]);
}

#[test]
fn variables() {
    check(&[
        ("{{ $x := 1 }}{{ if .T }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        (
            "{{ $x := 1 }}{{ if .T }}{{ $x := 2 }}{{ end }}{{ $x }}",
            "1",
        ),
        (
            "{{ if .T }}{{ $y := 1 }}{{ end }}{{ $y }}",
            "template: :1: undefined variable \"$y\"",
        ),
        (
            "{{ $x = 1 }}",
            "template: :1:8: executing \"\" at <1>: undefined variable: $x",
        ),
        ("{{ $d := .Deep }}{{ $d.L1.L2 }}", "deep"),
    ]);
}

#[test]
fn branches() {
    check(&[
        ("{{ if .Empty }}1{{ else if .T }}2{{ else }}3{{ end }}", "2"),
        (
            "{{ with .Nil }}x{{ else with .A }}{{ . }}{{ else }}z{{ end }}",
            "x",
        ),
        (
            "{{ with $v := .Deep.L1 }}{{ $v.L2 }}{{ .L2 }}{{ end }}",
            "deepdeep",
        ),
        ("{{ if .T }}x", "template: :1: unexpected EOF"),
        ("{{ end }}", "template: :1: unexpected {{end}}"),
        ("{{ else }}", "template: :1: unexpected {{else}}"),
        ("{{ if }}x{{ end }}", "template: :1: missing value for if"),
    ]);
}

#[test]
fn truth() {
    for (value, want) in [
        ("false", "F"),
        ("0", "F"),
        ("0.0", "F"),
        ("\"\"", "F"),
        (".Nil", "F"),
        (".Nope", "F"),
        ("(slice .S 0 0)", "F"),
        ("true", "T"),
        ("-1", "T"),
        (".S", "T"),
        (".M", "T"),
    ] {
        let template = format!("{{{{ if {value} }}}}T{{{{ else }}}}F{{{{ end }}}}");
        assert_eq!(render(&template), want, "{value}");
    }
}

#[test]
fn loops() {
    check(&[
        ("{{ range .S }}<{{ . }}>{{ end }}", "<a><b><c>"),
        (
            "{{ range $i, $e := .S }}{{ $i }}{{ $e }}{{ end }}",
            "0a1b2c",
        ),
        (
            "{{ range $k, $v := .M }}{{ $k }}={{ $v }};{{ end }}",
            "a=1;b=2;",
        ),
        (
            "{{ range 3 }}{{ . }}{{ end }}{{ range $i := 2 }}{{ $i }}{{ end }}",
            "01201",
        ),
        ("{{ range .Nope }}x{{ else }}empty{{ end }}", "empty"),
        (
            "{{ range .S }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end }}",
            "ac",
        ),
        (
            "{{ range .S }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "a",
        ),
        (
            "{{ $i := 9 }}{{ $e := 0 }}{{ range $i, $e = .S }}{{ end }}{{ $i }}{{ $e }}",
            "2c",
        ),
        ("{{ break }}", "template: :1: {{break}} outside {{range}}"),
        (
            "{{ range .N }}{{ end }}",
            "template: :1:9: executing \"\" at <.N>: range can't iterate over 3",
        ),
        (
            "{{ range $a, $b, $c := .S }}{{ end }}",
            "template: :1: too many declarations in range",
        ),
    ]);
}

#[test]
fn templates_of_their_own() {
    check(&[
        (
            "{{ template \"g\" .A }}{{ template \"g\" }}{{ define \"g\" }}[{{ . }}]{{ end }}",
            "[x][<no value>]",
        ),
        (
            "{{ block \"b\" .Deep }}{{ .L1.L2 }}{{ $.L1.L2 }}{{ end }}",
            "deepdeep",
        ),
        (
            "{{ define \"r\" }}{{ if . }}({{ template \"r\" (slice . 1) }}){{ end }}{{ end }}{{ template \"r\" .Uni }}",
            "(((((())))))",
        ),
        (
            "{{ template \"zz\" . }}",
            "template: :1:12: executing \"\" at <{{template \"zz\" .}}>: template \"zz\" not defined",
        ),
        (
            "{{ define \"g\" }}{{ .A.B }}{{ end }}{{ template \"g\" . }}",
            "template: :1:21: executing \"g\" at <.A.B>: can't evaluate field B in type interface {}",
        ),
        (
            "{{ if .T }}{{ define \"x\" }}{{ end }}{{ end }}",
            "template: :1: unexpected <define> in command",
        ),
    ]);
}

#[test]
fn logic_stops_early_and_gives_the_deciding_value() {
    check(&[
        (
            "{{ and .Empty (index .S 9) }}|{{ or .A (index .S 9) }}",
            "|x",
        ),
        (
            "{{ and 1 2 3 }}|{{ or .Empty .Nil 0 }}|{{ .A | and .T }}",
            "3|0|x",
        ),
        ("{{ not .Nil }}", "true"),
    ]);
}

#[test]
fn comparisons() {
    check(&[
        (
            "{{ eq .A \"p\" \"x\" }} {{ ne .A \"y\" }} {{ eq .Nope nil }} {{ eq .Nil \"x\" }}",
            "true true true false",
        ),
        (
            "{{ lt 1 2 }} {{ le 2 2 }} {{ gt \"é\" \"z\" }} {{ ge 1.0 2.0 }}",
            "true true true false",
        ),
        (
            "{{ eq .N 3 }}",
            "template: :1:3: executing \"\" at <eq .N 3>: error calling eq: incompatible types for comparison: float64 and int",
        ),
        (
            "{{ lt true false }}",
            "template: :1:3: executing \"\" at <lt true false>: error calling lt: invalid type for comparison",
        ),
        (
            "{{ ne 1 2 3 }}",
            "template: :1:3: executing \"\" at <ne>: wrong number of args for ne: want 2 got 3",
        ),
    ]);
}

#[test]
fn parts_of_lists_strings_and_maps() {
    check(&[
        ("{{ len .S }} {{ len .M }} {{ len .Uni }}", "3 2 6"),
        (
            "{{ index .S 1 }} {{ index .M \"b\" }} {{ index .A 0 }} {{ index .Deep \"L1\" \"L2\" }}",
            "b 2 120 deep",
        ),
        (
            "{{ slice .S 1 }} {{ slice (slice .S 1) 1 2 }} {{ slice .A 0 1 }}",
            "[b c] [c] x",
        ),
        ("{{ slice .Uni 0 2 }}{{ slice .Uni 2 }}", "hé☃"),
        (
            "{{ index .S 5 }}",
            "template: :1:3: executing \"\" at <index .S 5>: error calling index: index out of range: 5",
        ),
        (
            "{{ slice .S 2 1 }}",
            "template: :1:3: executing \"\" at <slice .S 2 1>: error calling slice: invalid slice index: 2 > 1",
        ),
    ]);
}

#[test]
fn printing() {
    check(&[
        (
            "{{ .M }} {{ .S }} {{ print .Nil }}",
            "map[a:1 b:2] [a b c] <nil>",
        ),
        (
            "{{ print 1 2 \"a\" 3 }}|{{ println \"a\" 1 }}",
            "1 2a3|a 1\n",
        ),
        (
            "{{ printf \"%5d|%-4s|%05d|%x|%+v|%t|%c|%q\" 42 \"ab\" -42 255 .S true 'x' \"a\\n\" }}",
            "   42|ab  |-0042|ff|[a b c]|true|x|\"a\\n\"",
        ),
        (
            "{{ printf \"%.2f %g %e %6.1f %v\" 1.005 0.5 1500.0 2.25 .N }}",
            "1.00 0.5 1.500000e+03    2.2 3",
        ),
        (
            "{{ printf \"%d %z %s\" \"s\" 1 }}",
            "%!d(string=s) %!z(int=1) %!s(MISSING)",
        ),
        ("{{ printf \"x\" 1 .A }}", "x%!(EXTRA int=1, string=x)"),
        (
            "{{ printf \"%[2]s%[1]s %*d %T %#v 100%%\" \"a\" \"b\" 3 }}",
            "ba %!(BADWIDTH)3 %!T(MISSING) %!v(MISSING) 100%",
        ),
    ]);
}

#[test]
fn a_precision_may_go_beyond_all_digits() {
    for precision in [1100, 70_000, 1_000_000] {
        let print = |verb: &str| render(&format!("{{{{ printf \"%.{precision}{verb}\" 0.1 }}}}"));
        let fixed = print("f");
        assert!(fixed.starts_with("0.1000000000000000055511151231257827"));
        assert!(
            fixed.len() == 2 + precision && fixed.ends_with("000"),
            "{}",
            fixed.len()
        );
        let scientific = print("e");
        assert!(scientific.starts_with("1.000000000000000055511151231257827"));
        assert!(scientific.ends_with("00e-01") && scientific.len() == 6 + precision);
        assert_eq!(
            print("g"),
            "0.1000000000000000055511151231257827021181583404541015625"
        );
    }
}

#[test]
fn escapes() {
    check(&[
        (
            "{{ html \"<a href='x'>&\" }}",
            "&lt;a href=&#39;x&#39;&gt;&amp;",
        ),
        ("{{ js \"<'x'=\\n\" }}", "\\u003C\\'x\\'\\u003D\\u000A"),
        ("{{ urlquery \"a b&ü\" }}", "a+b%26%C3%BC"),
        (
            "{{ json \"<&\\u2028\\\"\" }}",
            "\"\\u003c\\u0026\\u2028\\\"\"",
        ),
        (
            "{{ json .M }} {{ json 1e21 }} {{ json 1e-7 }} {{ json 1e6 }}",
            "{\"a\":1,\"b\":2} 1e+21 1e-7 1000000",
        ),
    ]);
}

#[test]
fn dates_have_the_iso_form() {
    let text = render("{{ currentDate \"ignored\" }}>{{ yesterdayDate }}");
    let (today, yesterday) = text.split_once('>').unwrap();
    assert!(today > yesterday, "{text}");
    assert_eq!((today.len(), yesterday.len()), (10, 10));
}

/// A struct with the given fields.
fn structure(fields: Vec<(&'static str, Value)>) -> Value {
    Value::Typed(std::sync::Arc::new(Typed {
        type_name: "*template.templateMessage",
        content: Content::Fields(fields),
        text: None,
        json: None,
    }))
}

#[test]
fn structs_know_their_fields() {
    let message = structure(vec![("Role", "user".into()), ("Index", Value::Int(0))]);
    assert_eq!(render_over("{{ .Role }}{{ . }}", &message), "user{user 0}");
    assert_eq!(
        render_over("{{ .Nope }}", &message),
        "template: :1:3: executing \"\" at <.Nope>: can't evaluate field Nope in type *template.templateMessage"
    );
}

#[test]
fn typed_values_print_in_their_own_form() {
    let tools = Value::Typed(std::sync::Arc::new(Typed {
        type_name: "api.Tools",
        content: Content::Plain(Value::list(vec!["a".into()])),
        text: Some("[\"A\"]".to_owned()),
        json: Some("[1]".to_owned()),
    }));
    assert_eq!(
        render_over(
            "{{ . }} {{ json . }} {{ len . }} {{ range . }}{{ . }}{{ end }}",
            &tools
        ),
        "[\"A\"] [1] 1 a"
    );
}

#[test]
fn types_of_properties_in_type_script() {
    let names = |names: &[&str]| Value::list(names.iter().map(|name| (*name).into()).collect());
    let plain = structure(vec![("Type", names(&["integer", "array", "odd"]))]);
    let any_of = structure(vec![
        (
            "AnyOf",
            Value::list(vec![
                structure(vec![("Type", names(&["string", "null"]))]),
                plain.clone(),
            ]),
        ),
        ("Type", names(&["object"])),
    ]);
    let script = |value| render_over("{{ toTypeScriptType . }}", value);
    assert_eq!(script(&plain), "number | any[] | any");
    assert_eq!(script(&any_of), "string | null | number | any[] | any");
    assert_eq!(script(&"x".into()), "any");
}

#[test]
fn hostile_templates_end() {
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(render(&nested).contains("nested deeper than"));
    let branches = "{{ if .T }}".repeat(5000);
    assert!(render(&branches).contains("nested deeper than"));
    let recursive = "{{ define \"r\" }}{{ if true }}{{ template \"r\" . }}{{ end }}{{ end }}{{ template \"r\" . }}";
    assert!(render(recursive).contains("exceeded maximum template depth"));
    let deep = format!("{}1{}", "(len (print ".repeat(70), "))".repeat(70));
    let deep_recursive = format!(
        "{{{{ define \"r\" }}}}{{{{ {deep} }}}}{{{{ template \"r\" . }}}}{{{{ end }}}}{{{{ template \"r\" . }}}}"
    );
    assert!(render(&deep_recursive).contains("exceeded maximum template depth"));
    let doubling =
        "{{ $x := \"0123456789\" }}{{ range 64 }}{{ $x = print $x $x }}{{ end }}{{ len $x }}";
    assert!(render(doubling).contains("too"));
    let endless = "{{ range 9999999999999 }}{{ end }}";
    assert!(render(endless).contains("steps"));
}

/// The limits on length and depth hold. The daemon's threads have 2 MB of stack; debug builds need the
/// most.
#[test]
fn hostile_texts_are_read_within_limits() {
    const MANY: usize = 5000;
    let around = |before: &str, inside: &str, after: &str| {
        format!("{}{inside}{}", before.repeat(MANY), after.repeat(MANY))
    };
    let parentheses = around("(", "1", ")");
    let too_deep = [
        format!("{{{{ {parentheses} }}}}"),
        format!("{{{{ if {parentheses} }}}}{{{{ end }}}}"),
        format!("{{{{ print {} }}}}", around("(print ", "1", ")")),
        format!("{{{{ {} }}}}", around("(", ".a", ").b")),
        around("{{ if .T }}", "", "{{ end }}"),
        around("{{ range .T }}", "", "{{ end }}"),
        around("{{ with .T }}", "", "{{ else }}{{ end }}"),
        around("{{ if .T }}{{ else }}", "", "{{ end }}"),
        around("{{ block \"x\" . }}", "", "{{ end }}"),
        format!(
            "{{{{ if 0 }}}}{}{{{{ end }}}}",
            "{{ else if 0 }}".repeat(MANY)
        ),
        format!(
            "{{{{ with 0 }}}}{}{{{{ end }}}}",
            "{{ else with 0 }}".repeat(MANY)
        ),
    ];
    for text in too_deep {
        let error = render(&text);
        assert!(
            error.contains("nested deeper than"),
            "{text:.60}: {error:.200}"
        );
    }
    let too_many = [
        (
            format!("{{{{ print {} }}}}", ". ".repeat(40_000)),
            "words and signs",
        ),
        ("{{.}}".repeat(40_000), "words and signs"),
        (
            format!("{{{{ 1{} }}}}", "|print".repeat(40_000)),
            "words and signs",
        ),
        ("{{ $a := 1 }}".repeat(MANY), "variables"),
        ("x".repeat(super::MAX_SOURCE + 1), "longer than"),
    ];
    for (text, limit) in too_many {
        let error = render(&text);
        assert!(error.contains(limit), "{text:.60}: {error:.200}");
    }
    let long = format!("{{{{ 1{} }}}}", "|print".repeat(10_000));
    assert_eq!(render(&long), "1");
    let field = format!("{{{{ {} }}}}", ".a".repeat(20_000));
    assert!(render(&field).contains("nil"), "{:.200}", render(&field));
}

#[test]
fn the_deepest_template_fits_the_stack() {
    let depth = super::MAX_NESTING / 2;
    let inner = format!(
        "{}1{}",
        "(len (print ".repeat(depth / 2),
        "))".repeat(depth / 2)
    );
    let text = format!(
        "{}{{{{ {inner} }}}}{}",
        "{{ with $.A }}".repeat(depth / 2),
        "{{ end }}".repeat(depth / 2)
    );
    assert_eq!(render(&text), "1");
}

/// Fragments that form template-like text when they are put together at random.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "- ",
        "if ",
        "else ",
        "end",
        "range ",
        "with ",
        "define ",
        "template ",
        "block ",
        "break",
        "continue",
        "\"g\"",
        "`r`",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        "|",
        "(",
        ")",
        ".",
        ".A",
        ".S",
        ".M",
        "nil",
        "true",
        "1",
        "-1",
        "0x",
        "1e9",
        "'a'",
        "printf ",
        "\"%*[2]d%-05.3q\"",
        "index ",
        "slice ",
        "len ",
        "json ",
        "eq ",
        "and ",
        "html ",
        "/*",
        "*/",
        "\n",
        "é",
        "\u{a0}",
        "text",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gives_a_result(text in prop_oneof![pieces(), any::<String>()]) {
        render(&text);
        render(&format!("{{{{ {text} }}}}"));
    }

    #[test]
    fn text_without_actions_stays(text in "[^{]*") {
        prop_assert_eq!(render(&text), text);
    }

    #[test]
    fn printf_takes_any_format(format in "[%a-zA-Z0-9+# .*\\[\\]-]{0,24}") {
        render(&format!("{{{{ printf `{format}` .A 5 .S 2.5 .Nil .M }}}}"));
    }
}
