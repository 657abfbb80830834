//! The suffixes `:cloud`, `-cloud` and `:local`, recognized before the name is parsed.

/// Where a request wants its model to run (`:cloud`, `-cloud`, `:local` suffixes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Unspecified,
    Local,
    Cloud,
}

pub(super) fn split(text: &str) -> Result<(String, Source), String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("model is required".to_owned());
    }
    let (rest, source) = cut(text);
    if source != Source::Unspecified && cut(rest).1 != Source::Unspecified {
        return Err(format!("use either :local or :cloud, not both: \"{text}\""));
    }
    Ok((rest.to_owned(), source))
}

fn cut(text: &str) -> (&str, Source) {
    let Some((rest, last)) = text.rsplit_once(':') else {
        return (text, Source::Unspecified);
    };
    if last.eq_ignore_ascii_case("cloud") {
        return (rest, Source::Cloud);
    }
    if last.eq_ignore_ascii_case("local") {
        return (rest, Source::Local);
    }
    let suffix = "-cloud";
    let cut_at = text.len().saturating_sub(suffix.len());
    if last.len() > suffix.len()
        && !last.contains('/')
        && text.is_char_boundary(cut_at)
        && text[cut_at..].eq_ignore_ascii_case(suffix)
    {
        return (&text[..cut_at], Source::Cloud);
    }
    (text, Source::Unspecified)
}
