//! The query of an address.

use axum::http::Uri;

/// The value of a parameter; if it is repeated, the last one counts.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let found = pairs.filter(|(key, _)| key == name).last();
    found.map(|(_, value)| value.into_owned())
}

/// The pairs of a parameter such as `metadata[key]=value`.
pub(super) fn parameters_of<'a>(
    uri: &'a Uri,
    name: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    let query = uri.query().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.filter_map(move |(key, value)| {
        let key = key
            .strip_prefix(name)?
            .strip_prefix('[')?
            .strip_suffix(']')?;
        Some((key.to_owned(), value.into_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let uri: Uri = "/x?a=1&a=%32&m[k]=v&m%5Bl+l%5D=w%26&m=3&mm[k]=4"
            .parse()
            .unwrap();
        assert_eq!(parameter(&uri, "a").as_deref(), Some("2"));
        assert_eq!(parameter(&uri, "b"), None);
        let pairs: Vec<_> = parameters_of(&uri, "m").collect();
        let expected = [("k", "v"), ("l l", "w&")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}
