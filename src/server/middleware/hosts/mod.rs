//! Which names the daemon answers to: a guard against web pages that point a name of theirs at this
//! machine (DNS rebinding; API specification §1.6).
//!
//! On a loopback address these are Ollama's. Elsewhere all that a page of strangers cannot have: an
//! address, a name without a way out of the local network, a name that this machine is known to
//! have ([`names`]). Settings add more.

mod names;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cors::Origins;
use super::spelled;
use crate::error::ErrorKind;
use crate::net::{Domain, Host, Own, Pattern, Place};
use crate::server::error::ApiError;
use crate::server::state::App;
use names::Names;

/// Endings of names that only this machine and its neighbours have.
const LOCAL_ENDINGS: [&str; 3] = [".localhost", ".local", ".internal"];

/// Refused names that are remembered, so that each is in the log once.
const MAX_TOLD: usize = 32;

/// What decides about a request's host.
#[derive(Debug)]
pub(super) struct Hosts {
    /// `None`: only this machine's programs come, by Ollama's rules.
    names: Option<Names>,
    machine: String,
    /// `DROVER_ALLOWED_HOSTS`.
    allowed: Vec<Pattern>,
    /// A page that may call from elsewhere may also be here.
    origins: Arc<Origins>,
    told: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Address,
    Name,
    None,
}

impl Hosts {
    /// `address` is where the daemon listens.
    pub(super) fn new(app: &App, origins: Arc<Origins>, address: SocketAddr) -> Self {
        let is_open = !address.ip().to_canonical().is_loopback();
        Self {
            names: is_open.then(|| Names::start(&app.tasks)),
            machine: Own::machine(),
            allowed: app.config.allowed_hosts.clone(),
            origins,
            told: Mutex::default(),
        }
    }

    /// Decides by what is known without asking anybody.
    fn find(&self, text: &str) -> Match {
        // Old clients and checks of health say nothing; browsers cannot.
        let text = text.trim();
        let port = text.strip_prefix(':').unwrap_or(text);
        if text.is_empty() || port != text && port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Match::Name;
        }
        let Some(host) = Host::parse(text) else {
            return Match::None;
        };
        if self.is_local(&host.domain) {
            return match host.domain {
                Domain::Address(_) => Match::Address,
                Domain::Name(_) => Match::Name,
            };
        }
        let is_allowed = self.allowed.iter().any(|pattern| pattern.matches(&host));
        if is_allowed || self.is_origin(&host) {
            Match::Name
        } else {
            Match::None
        }
    }

    fn is_local(&self, domain: &Domain) -> bool {
        match domain {
            // A page at an address is always the one that lies there.
            Domain::Address(address) => self.names.is_some() || is_near(*address),
            Domain::Name(name) => {
                name == "localhost"
                    || *name == self.machine
                    || LOCAL_ENDINGS.iter().any(|ending| name.ends_with(ending))
                    || self.names.is_some() && domain.is_local_name()
            }
        }
    }

    /// Whether `OLLAMA_ORIGINS` has a page of this host.
    fn is_origin(&self, host: &Host) -> bool {
        let bare = host.domain.to_string();
        let pages = [host.to_string(), bare];
        pages.iter().any(|page| {
            let schemes = ["http", "https"].iter();
            schemes
                .map(|scheme| format!("{scheme}://{page}"))
                .any(|origin| self.origins.allows(&origin))
        })
    }

    /// Decides, after a look at the names that this machine has if that helps.
    async fn find_with_names(&self, text: &str) -> Match {
        let found = self.find(text);
        let (Match::None, Some(names)) = (found, &self.names) else {
            return found;
        };
        let Some(Host {
            domain: Domain::Name(name),
            ..
        }) = Host::parse(text)
        else {
            return found;
        };
        if names.has(&name).await {
            Match::Name
        } else {
            Match::None
        }
    }

    /// Writes once about a name.
    fn tell(&self, host: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.len() < MAX_TOLD && told.insert(host.to_owned());
        drop(told);
        if is_new {
            tracing::warn!(
                host,
                "refused: the request's Host is no name of this server; if clients should use it, \
                 set DROVER_ALLOWED_HOSTS={host}"
            );
        }
    }
}

pub(super) async fn check(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    let mut all = Match::Address;
    for text in all_hosts(request.headers(), request.uri()) {
        match hosts.find_with_names(text).await {
            Match::None => return refuse(&hosts, text, &request),
            Match::Name => all = Match::Name,
            Match::Address => {}
        }
    }
    let is_preflight = request.method() == Method::OPTIONS && hosts.names.is_none();
    if is_preflight && all == Match::Name {
        return StatusCode::NO_CONTENT.into_response();
    }
    next.run(request).await
}

fn refuse(hosts: &Hosts, text: &str, request: &Request) -> Response {
    // What is no host at all is nobody's configuration.
    let told = match Host::parse(text) {
        Some(host) => {
            let name = host.domain.to_string();
            hosts.tell(&name);
            format!(
                "this server does not answer to the name {name}; if it should, set \
                 DROVER_ALLOWED_HOSTS={name} where it runs, or use its address"
            )
        }
        None => "the Host of this request is no host".to_owned(),
    };
    let error = ApiError::new(ErrorKind::Forbidden, told);
    spelled(error, request.uri().path())
}

/// The host as the client wrote it, with its port: a header, or part of the address (HTTP/2).
pub(super) fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    all_hosts(headers, uri).next().unwrap_or_default()
}

/// Every host that a request names: all have to be good, as it is not said which one counts. One
/// that is no text is none.
fn all_hosts<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> impl Iterator<Item = &'a str> {
    let in_headers = headers.get_all(header::HOST).into_iter();
    let in_headers = in_headers.map(|host| host.to_str().unwrap_or("\0"));
    let in_address = uri.authority().map(axum::http::uri::Authority::as_str);
    in_headers.chain(in_address)
}

/// Ollama's rule for addresses.
fn is_near(address: IpAddr) -> bool {
    address.is_unspecified()
        || match Place::of(address) {
            Place::Here => true,
            // Not the ranges of carriers and benchmarks.
            Place::Private => match address {
                IpAddr::V4(address) => address.is_private(),
                IpAddr::V6(_) => true,
            },
            Place::Public | Place::Special => false,
        }
}

#[cfg(test)]
mod tests;
