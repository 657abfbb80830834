//! Gets a token after a 401, by Docker's token protocol
//! (<https://distribution.github.io/distribution/spec/auth/token/>) with Ollama's signed requests.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Url;

use super::answer::words;
use super::{Key, RegistryError};

/// What a request without a body signs: base64 of the hex text of the SHA-256 of an empty body.
const EMPTY_BODY: &str =
    "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ==";

/// The challenge in `WWW-Authenticate`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) realm: String,
    pub(super) service: String,
    pub(super) scope: String,
}

impl Challenge {
    pub(super) fn parse(header: &str) -> Self {
        Self {
            realm: value(header, "realm"),
            service: value(header, "service"),
            scope: value(header, "scope"),
        }
    }

    /// Returns the URL for requesting a token.
    ///
    /// # Errors
    /// Fails when the realm is not a URL, or is on another host than `asked`.
    pub(super) fn token_url(
        &self,
        asked: &Url,
        now: Timestamp,
        nonce: [u8; 16],
    ) -> Result<Url, RegistryError> {
        let malformed = |error| {
            let realm = words(&self.realm);
            RegistryError::Malformed(format!("the registry's realm {realm:?}: {error}"))
        };
        let mut url = Url::parse(&self.realm).map_err(malformed)?;
        let (theirs, ours) = (host(&url), host(asked));
        if theirs != ours {
            return Err(RegistryError::Malformed(format!(
                "realm host {:?} does not match original host {ours:?}",
                words(&theirs)
            )));
        }
        // Over plain HTTP, the signature could be read on the way.
        if asked.scheme() == "https" && url.scheme() != "https" {
            return Err(RegistryError::Malformed(
                "the registry wants the request for a token by plain HTTP".to_owned(),
            ));
        }
        let known: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut pairs = known;
        let mut push = |key: &str, value: String| pairs.push((key.to_owned(), value));
        push("nonce", URL_SAFE_NO_PAD.encode(nonce));
        for scope in self.scope.split_whitespace() {
            push("scope", scope.to_owned());
        }
        if !self.service.is_empty() {
            push("service", self.service.clone());
        }
        push("ts", now.as_second().to_string());
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
        url.query_pairs_mut().clear().extend_pairs(pairs);
        Ok(url)
    }
}

/// Returns the `Authorization` header of a request for a token.
///
/// # Errors
/// Fails when the key cannot sign.
pub(super) fn authorization(key: &Key, url: &Url) -> Result<String, RegistryError> {
    key.authorization(&format!("GET,{url},{EMPTY_BODY}"))
}

/// The text between the quote after `key=` and the next quote before a comma or the end.
fn value(header: &str, key: &str) -> String {
    let start = format!("{key}=\"");
    let Some(at) = header.find(&start) else {
        return String::new();
    };
    let rest = &header[at + start.len()..];
    let ends = rest.match_indices('"').find(|(at, _)| {
        let after = rest[at + 1..].trim_start();
        after.is_empty() || after.starts_with(',')
    });
    rest[..ends.map_or(rest.len(), |(at, _)| at)].to_owned()
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_has_commas_and_quotes_in_its_values() {
        let header = r#"Bearer realm="https://r.example/token",service="a "b", c",scope="repository:library/x:pull,push""#;
        let challenge = Challenge::parse(header);
        assert_eq!(challenge.realm, "https://r.example/token");
        assert_eq!(challenge.scope, "repository:library/x:pull,push");
        assert_eq!(Challenge::parse("Basic"), Challenge::default());
    }

    #[test]
    fn the_token_is_asked_for_with_sorted_parameters() {
        let challenge = Challenge {
            realm: "https://r.example/token?x=1".to_owned(),
            service: "r.example".to_owned(),
            scope: "a:b:pull c:d:push".to_owned(),
        };
        let asked = Url::parse("https://r.example/v2/library/x/manifests/latest").unwrap();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let url = challenge.token_url(&asked, now, [0; 16]).unwrap();
        assert_eq!(
            url.as_str(),
            "https://r.example/token?nonce=AAAAAAAAAAAAAAAAAAAAAA&scope=a%3Ab%3Apull&scope=c%3Ad%3Apush\
             &service=r.example&ts=1700000000&x=1"
        );
        let elsewhere = Url::parse("https://other.example/v2/").unwrap();
        let error = challenge.token_url(&elsewhere, now, [0; 16]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"realm host "r.example" does not match original host "other.example""#
        );
        let plain = Challenge {
            realm: "http://r.example/token".to_owned(),
            ..challenge
        };
        let error = plain.token_url(&asked, now, [0; 16]).unwrap_err();
        assert!(error.to_string().contains("plain HTTP"), "{error}");
    }
}
