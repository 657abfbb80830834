//! Which models a key may use: names, in which `*` stands for any text.

/// The tag of a name without one.
const LATEST: &str = ":latest";

/// Whether one of the patterns matches a model's short name (`llama3.2:latest`); no patterns allow all models.
pub(super) fn allows(patterns: &[String], short_name: &str) -> bool {
    let name = short_name.to_ascii_lowercase();
    patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, &name))
}

fn fits(pattern: &str, name: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let last = pattern.rsplit('/').next().unwrap_or_default();
    if last.contains(':') || last.ends_with('*') {
        return glob(&pattern, name);
    }
    // As everywhere, a name without a tag means the latest.
    glob(&format!("{pattern}{LATEST}"), name)
}

/// Matches a pattern in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut middle: Vec<&str> = parts.collect();
    let Some(last) = middle.pop() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stars() {
        let allows = |pattern: &str, name| allows(&[pattern.to_owned()], name);
        for (pattern, name) in [
            ("llama3.2", "llama3.2:latest"),
            ("Llama3.2", "llama3.2:latest"),
            ("llama3.2:1b", "llama3.2:1b"),
            ("llama3.2:*", "llama3.2:1b"),
            ("llama*", "llama3.2:1b"),
            ("*", "a/b:c"),
            ("team/*", "team/x:latest"),
            ("*/x", "team/x:latest"),
            ("host:5000/a/b", "host:5000/a/b:latest"),
            ("a*b*c:*", "a1b2c:d"),
        ] {
            assert!(allows(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("llama3.2", "llama3.2:1b"),
            ("llama3.2", "llama3.20:latest"),
            ("llama3.2", "x/llama3.2:latest"),
            ("team/*", "team2/x:latest"),
            ("team/*", "x:latest"),
            ("a*b", "a:latest"),
            ("ab*ba:*", "aba:x"),
        ] {
            assert!(!allows(pattern, name), "{pattern} {name}");
        }
        assert!(super::allows(&[], "anything"));
    }
}
