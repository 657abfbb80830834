//! Adds white space to compact JSON text.

/// One space after every `:` and `,` outside strings: `{"a": 1, "b": 2}`.
pub fn spaced(compact: &str) -> String {
    let mut text = String::with_capacity(compact.len() + compact.len() / 8);
    outside_strings(compact, &mut text, |c, text| {
        text.push(c);
        if matches!(c, ':' | ',') {
            text.push(' ');
        }
    });
    text
}

/// One line for each element, `width` spaces for each level, as Go's `MarshalIndent` writes it.
pub fn indented(compact: &str, width: usize) -> String {
    let mut text = String::with_capacity(compact.len() * 2);
    let mut depth = 0;
    let mut opened = false;
    outside_strings(compact, &mut text, |c, text| {
        if opened && !matches!(c, '}' | ']') {
            line(text, depth, width);
        }
        match c {
            '{' | '[' => {
                depth += 1;
                text.push(c);
            }
            '}' | ']' => {
                depth -= 1;
                // Empty lists and objects stay on one line.
                if !opened {
                    line(text, depth, width);
                }
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(text, depth, width);
            }
            ':' => text.push_str(": "),
            _ => text.push(c),
        }
        opened = matches!(c, '{' | '[');
    });
    text
}

fn line(text: &mut String, depth: usize, width: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n(' ', depth * width));
}

/// Copies strings unchanged and passes every byte outside them, and the opening quotes, to `each`.
fn outside_strings(compact: &str, text: &mut String, mut each: impl FnMut(char, &mut String)) {
    let mut in_string = false;
    let mut escaped = false;
    for c in compact.chars() {
        if !in_string {
            in_string = c == '"';
            each(c, text);
            continue;
        }
        text.push(c);
        in_string = escaped || c != '"';
        escaped = c == '\\' && !escaped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: &str = r#"{"a:,":[1,"x\",\\"],"b":{},"c":[]}"#;

    #[test]
    fn spaces_stand_outside_strings_only() {
        assert_eq!(
            spaced(COMPACT),
            r#"{"a:,": [1, "x\",\\"], "b": {}, "c": []}"#
        );
    }

    #[test]
    fn indents_follow_the_depth_and_empty_ones_stay_closed() {
        let lines = [
            "{",
            r#"    "a:,": ["#,
            "        1,",
            r#"        "x\",\\""#,
            "    ],",
            r#"    "b": {},"#,
            r#"    "c": []"#,
            "}",
        ];
        assert_eq!(indented(COMPACT, 4), lines.join("\n"));
    }
}
