//! What a browser's request says about itself: the host that it is for, and the page that sends it.

use axum::http::header::{self, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Uri};

/// The host with its port, as the client sent it: in a header, or in the URL (HTTP/2).
pub(super) fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    all_hosts(headers, uri).next().unwrap_or_default()
}

/// All hosts that a request names. All must be allowed, since it is not defined which one counts. A host that is not
/// text counts as empty.
pub(super) fn all_hosts<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> impl Iterator<Item = &'a str> {
    let in_headers = headers.get_all(header::HOST).into_iter();
    let in_headers = in_headers.map(|host| host.to_str().unwrap_or("\0"));
    let in_address = uri.authority().map(axum::http::uri::Authority::as_str);
    in_headers.chain(in_address)
}

/// Whether a web page that is not our own sends the request.
pub(super) fn is_foreign(headers: &HeaderMap, uri: &Uri) -> bool {
    foreign_origin(headers, host_of(headers, uri)).is_some()
}

/// The origin of the request's page, if it is not our own.
pub(super) fn foreign_origin(headers: &HeaderMap, host: &str) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN).filter(|origin| !origin.is_empty())?;
    let own = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .is_some_and(|(scheme, rest)| matches!(scheme, "http" | "https") && rest == host);
    (!own).then(|| origin.clone())
}
