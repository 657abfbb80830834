//! Converts OpenMetrics to Prometheus' older text format (0.0.4), which most other readers want.

/// Converts a text: in OpenMetrics a counter's family has the name without `_total`, and there are lines that the older
/// format does not know.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if line.starts_with("# HELP ") {
            // The metric's type follows on the next line.
            help = line;
            continue;
        }
        let Some(kind) = line.strip_prefix("# TYPE ") else {
            if !line.starts_with('#') {
                plain.push_str(line);
                plain.push('\n');
            }
            continue;
        };
        let (name, kind) = kind.rsplit_once(' ').unwrap_or((kind, "untyped"));
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            "unknown" => ("", "untyped"),
            kind => ("", kind),
        };
        if let Some(words) = help.strip_prefix("# HELP ")
            && let Some(words) = words.strip_prefix(name)
        {
            plain.push_str(&format!("# HELP {name}{suffix}{words}\n"));
        }
        plain.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_the_names_of_their_samples() {
        let open = "# HELP a Words.\n# TYPE a counter\na_total{x=\"# y\"} 1\n# HELP b_seconds B.\n\
                    # TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_sum 1.0\n# EOF\n";
        let expected = "# HELP a_total Words.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n\
                        # HELP b_seconds B.\n# TYPE b_seconds histogram\nb_seconds_sum 1.0\n";
        assert_eq!(plain(open), expected);
    }
}
