//! The query of an address.

use axum::http::Uri;

/// The value of a parameter; the last one of a name counts.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let found = pairs.filter(|(key, _)| key == name).last();
    found.map(|(_, value)| value.into_owned())
}
