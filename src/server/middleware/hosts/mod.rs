//! Which host names the daemon answers to: protection against web pages that point one of their names at
//! this machine (DNS rebinding).
//!
//! On a loopback address, Ollama's rules apply. Otherwise it accepts what a foreign page cannot have: an
//! address, a name of the local network, or one of this machine's known names ([`names`]). Settings add
//! more.

mod names;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cors::Origins;
use super::spelled;
use crate::error::ErrorKind;
use crate::net::{Domain, Host, Own, Pattern, Place};
use crate::server::browser::all_hosts;
use crate::server::error::ApiError;
use crate::server::state::App;
use names::Names;

/// Suffixes of names that only this machine and local ones can have.
const LOCAL_ENDINGS: [&str; 3] = [".localhost", ".local", ".internal"];

/// How many refused names are remembered, so that each is logged only once.
const MAX_TOLD: usize = 32;

/// The rules for a request's host.
#[derive(Debug)]
pub(super) struct Hosts {
    /// `None`: only programs on this machine can connect, so Ollama's rules apply.
    names: Option<Names>,
    machine: String,
    /// `DROVER_ALLOWED_HOSTS`.
    allowed: Vec<Pattern>,
    /// Hosts of allowed origins are also allowed.
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

    /// Decides without any look-up.
    fn find(&self, text: &str) -> Match {
        // Old clients and health checks send no host; browsers always do.
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
            // A page at an IP address always comes from that address.
            Domain::Address(address) => self.names.is_some() || is_near(*address),
            Domain::Name(name) => {
                name == "localhost"
                    || *name == self.machine
                    || LOCAL_ENDINGS.iter().any(|ending| name.ends_with(ending))
                    || self.names.is_some() && domain.is_local_name()
            }
        }
    }

    /// Whether `OLLAMA_ORIGINS` contains a page of this host.
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

    /// Decides, after looking up this machine's names if necessary.
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

    /// Logs a refused name once.
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
    // Text that is not a host cannot be a configuration mistake.
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

/// Ollama's rule for addresses.
fn is_near(address: IpAddr) -> bool {
    address.is_unspecified()
        || match Place::of(address) {
            Place::Here => true,
            // Except the ranges of carriers and benchmarks.
            Place::Private => match address {
                IpAddr::V4(address) => address.is_private(),
                IpAddr::V6(_) => true,
            },
            Place::Public | Place::Special => false,
        }
}

#[cfg(test)]
mod tests;
