//! Which names the daemon answers to when it listens on a loopback address: a guard against web
//! pages that point a name of theirs at this machine (API specification §1.6).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Endings of names that only local networks have.
const LOCAL_ENDINGS: [&str; 3] = [".localhost", ".local", ".internal"];

/// Where the daemon listens and what the machine is called.
#[derive(Debug)]
pub(super) struct Hosts {
    /// Other addresses are meant to be reached by any name.
    is_checked: bool,
    machine: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Address,
    Name,
    None,
}

impl Hosts {
    pub(super) fn new(address: SocketAddr) -> Self {
        let machine = hostname::get().map(|name| name.to_string_lossy().into_owned());
        Self {
            is_checked: address.ip().is_loopback(),
            machine: machine.unwrap_or_default(),
        }
    }

    fn find(&self, host: &str) -> Match {
        let host = without_port(host);
        if let Ok(address) = host.parse::<IpAddr>()
            && is_local(address)
        {
            return Match::Address;
        }
        let name = host.to_ascii_lowercase();
        let is_local_name = name.is_empty()
            || name == "localhost"
            || name == self.machine.to_ascii_lowercase()
            || LOCAL_ENDINGS.iter().any(|ending| name.ends_with(ending));
        if is_local_name {
            Match::Name
        } else {
            Match::None
        }
    }
}

pub(super) async fn check(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    if !hosts.is_checked {
        return next.run(request).await;
    }
    match hosts.find(host_of(request.headers(), request.uri())) {
        Match::None => StatusCode::FORBIDDEN.into_response(),
        Match::Name if request.method() == Method::OPTIONS => {
            StatusCode::NO_CONTENT.into_response()
        }
        Match::Name | Match::Address => next.run(request).await,
    }
}

/// The host as the client wrote it, with its port: a header, or part of the address (HTTP/2).
pub(super) fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(axum::http::uri::Authority::as_str))
        .unwrap_or_default()
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(host, |(address, _)| address);
    }
    match host.split_once(':') {
        // More colons: an IPv6 address without brackets and port.
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

fn is_local(address: IpAddr) -> bool {
    let is_private = match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    };
    address.is_loopback() || address.is_unspecified() || is_private || is_ours(address)
}

/// Whether an interface of this machine has the address; they may change while we run.
fn is_ours(address: IpAddr) -> bool {
    if_addrs::get_if_addrs()
        .is_ok_and(|interfaces| interfaces.iter().any(|found| found.ip() == address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts_and_no_others() {
        let hosts = Hosts {
            is_checked: true,
            machine: "Desk".to_owned(),
        };
        for (host, expected) in [
            ("", Match::Name),
            (":11434", Match::Name),
            ("localhost", Match::Name),
            ("LocalHost:11434", Match::Name),
            ("desk:1", Match::Name),
            ("ollama.localhost", Match::Name),
            ("nas.local:80", Match::Name),
            ("host.docker.internal:11434", Match::Name),
            ("127.0.0.1:11434", Match::Address),
            ("0.0.0.0", Match::Address),
            ("[::1]:11434", Match::Address),
            ("::1", Match::Address),
            ("[fd00::1]", Match::Address),
            ("192.168.1.7:11434", Match::Address),
            ("10.1.2.3", Match::Address),
            ("203.0.113.7", Match::None),
            ("example.com", Match::None),
            ("localhost.example.com:11434", Match::None),
            ("evillocalhost", Match::None),
            ("127.0.0.1.example.com", Match::None),
        ] {
            assert_eq!(hosts.find(host), expected, "{host:?}");
        }
    }

    #[test]
    fn only_loopback_addresses_are_guarded() {
        for (address, guarded) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.168.1.7:1", false),
        ] {
            assert_eq!(Hosts::new(address.parse().unwrap()).is_checked, guarded);
        }
    }
}
