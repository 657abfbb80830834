//! Model names: `[scheme://][host/][namespace/]model[:tag]`.
//!
//! *Invariant:* no part of a [`ModelName`] that came from [`ModelName::parse`] can be `.`, `..` or
//! contain a path separator, so its parts are safe to join into a path.

mod source;
#[cfg(test)]
mod tests;

pub use source::Source;

pub const DEFAULT_HOST: &str = "registry.ollama.ai";
pub const DEFAULT_NAMESPACE: &str = "library";
pub const DEFAULT_TAG: &str = "latest";

/// A valid, fully qualified model name; the scheme is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName {
    pub host: String,
    pub namespace: String,
    pub model: String,
    pub tag: String,
}

/// The text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid model name")]
pub struct InvalidName;

impl ModelName {
    /// Parses a name and fills in the defaults.
    ///
    /// # Errors
    /// Fails when a part is missing, too long or has a forbidden character.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (rest, tag) = match text.rfind(':') {
            Some(colon) if text.rfind('/').is_none_or(|slash| slash < colon) => {
                (&text[..colon], &text[colon + 1..])
            }
            _ => (text, DEFAULT_TAG),
        };
        let (rest, model) = cut_last(rest);
        let (rest, namespace) = rest.map_or((None, DEFAULT_NAMESPACE), cut_last);
        let host = rest.map_or(DEFAULT_HOST, |rest| {
            rest.split_once("://").map_or(rest, |(_, host)| host)
        });
        Self::from_parts(host, namespace, model, tag)
    }

    /// Makes a name of four parts, none of them optional.
    ///
    /// # Errors
    /// Fails when a part is empty, too long or has a forbidden character.
    pub fn from_parts(
        host: &str,
        namespace: &str,
        model: &str,
        tag: &str,
    ) -> Result<Self, InvalidName> {
        let valid = is_valid_part(host, 350, b"-.:")
            && is_valid_part(namespace, 80, b"-")
            && is_valid_part(model, 80, b"-.")
            && is_valid_part(tag, 80, b"-.");
        if !valid {
            return Err(InvalidName);
        }
        Ok(Self {
            host: host.to_owned(),
            namespace: namespace.to_owned(),
            model: model.to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// Splits the source suffix off a raw request string (trimmed); the rest is for [`Self::parse`].
    ///
    /// # Errors
    /// Returns Ollama's text for two suffixes in a row: `use either :local or :cloud, not both: "…"`.
    pub fn split_source(text: &str) -> Result<(String, Source), String> {
        source::split(text)
    }

    /// Returns the shortest display form: defaults of host and namespace dropped, tag always there.
    pub fn short(&self) -> String {
        let Self {
            host,
            namespace,
            model,
            tag,
        } = self;
        if !host.eq_ignore_ascii_case(DEFAULT_HOST) {
            self.to_string()
        } else if !namespace.eq_ignore_ascii_case(DEFAULT_NAMESPACE) {
            format!("{namespace}/{model}:{tag}")
        } else {
            format!("{model}:{tag}")
        }
    }

    /// Whether both names are equal, ASCII case ignored.
    pub fn eq_ignore_case(&self, other: &Self) -> bool {
        self.parts()
            .iter()
            .zip(other.parts())
            .all(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    /// Returns host, namespace, model and tag: the components of the manifest's path.
    pub fn parts(&self) -> [&str; 4] {
        [&self.host, &self.namespace, &self.model, &self.tag]
    }
}

/// Prints the full form `host/namespace/model:tag`.
impl std::fmt::Display for ModelName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [host, namespace, model, tag] = self.parts();
        write!(f, "{host}/{namespace}/{model}:{tag}")
    }
}

/// Splits at the last `/`; without one, everything is the right side.
fn cut_last(text: &str) -> (Option<&str>, &str) {
    text.rsplit_once('/')
        .map_or((None, text), |(left, right)| (Some(left), right))
}

fn is_valid_part(part: &str, longest: usize, extra: &[u8]) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = part.as_bytes();
    bytes.len() <= longest
        && bytes.first().is_some_and(|first| is_word(*first))
        && bytes
            .iter()
            .all(|byte| is_word(*byte) || extra.contains(byte))
}
