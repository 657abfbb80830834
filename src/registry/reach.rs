//! Where the registry client may connect: hosts in this machine's settings, hosts that a client on this machine
//! names, and otherwise only hosts on the internet.
//!
//! Any client may name a registry, and registries may redirect anywhere; neither may make the daemon
//! connect to its private networks (SSRF). This module checks an address in a URL before every request and
//! after every redirect. [`Resolver`] checks the addresses of a name at the moment of the connection, so
//! that a second look-up cannot return others.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use tokio::sync::Semaphore;

use super::{RegistryError, Settings};
use crate::client::OLLAMA_VERSION;
use crate::model::name::DEFAULT_HOST;
use crate::net::{Domain, Host, Pattern, Place};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The most concurrent look-ups: each may hold a thread until a dead resolver times out.
const MAX_LOOKUPS: usize = 16;

/// Where the client that names a registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A client on this machine, which may use registries in private networks.
    Here,
    /// A client elsewhere, which may not reach this network through the daemon.
    Elsewhere,
}

/// Which networks a client may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Public,
    /// Private networks and this machine as well.
    Near,
    /// Any address, for hosts in the settings.
    Any,
}

impl Reach {
    fn covers(self, place: Place) -> bool {
        match self {
            Self::Public => place == Place::Public,
            Self::Near => place <= Place::Here,
            Self::Any => true,
        }
    }
}

/// The HTTP clients and the rule for them; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Http(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rule: Rule,
    public: Clients,
    near: Clients,
    any: Clients,
    /// Never uses a proxy: no other machine can reach this one's loopback addresses.
    loopback: Clients,
    resolver: Resolver,
    /// Builds requests, but sends none.
    maker: Client,
}

/// Clients that return redirects instead of following them, since every target is checked.
#[derive(Debug)]
struct Clients {
    /// Aborts a response that stalls.
    reading: Lazy,
    /// Without a read timeout: the server sends nothing until an upload is complete.
    sending: Lazy,
}

/// A client that is made on first use, since making it reads the system's certificates.
#[derive(Debug)]
struct Lazy {
    resolver: Resolver,
    proxies: Proxies,
    silence: Option<Duration>,
    made: OnceLock<Client>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proxies {
    Environment,
    None,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Stall,
    None,
}

/// The registry that a client named, and where the client is.
#[derive(Debug, Clone)]
pub(super) struct Named {
    host: Option<Host>,
    asker: Asker,
}

impl Named {
    pub(super) fn new(address: &str, asker: Asker) -> Self {
        let url = Url::parse(address).ok();
        Self {
            host: url.as_ref().and_then(host_of),
            asker,
        }
    }
}

/// The hosts that are known from settings.
#[derive(Debug)]
struct Rule {
    known: Vec<Pattern>,
    /// Proxies, which the HTTP client must be able to reach.
    proxies: HashSet<Domain>,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self, RegistryError> {
        // Fails only if a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let rule = Rule::new(settings);
        // Each has its own permits, so look-ups of untrusted names cannot delay the others.
        let public = Resolver::new(Reach::Public, &rule);
        let near = Resolver::new(Reach::Near, &rule);
        let any = Resolver::new(Reach::Any, &rule);
        let maker = Client::builder().no_proxy().tls_certs_only([]).build()?;
        Ok(Self(Arc::new(Inner {
            public: Clients::new(settings, &public, Proxies::Environment),
            near: Clients::new(settings, &near, Proxies::Environment),
            any: Clients::new(settings, &any, Proxies::Environment),
            loopback: Clients::new(settings, &near, Proxies::None),
            resolver: public,
            maker,
            rule,
        })))
    }

    /// Returns the client that may send a request to a URL.
    ///
    /// # Errors
    /// `Refused` if the URL is not allowed.
    pub(super) async fn client(
        &self,
        url: &Url,
        named: &Named,
        patience: Patience,
    ) -> Result<&Client, RegistryError> {
        let inner = &self.0;
        let host = host_of(url)
            .ok_or_else(|| RegistryError::Malformed("no address of a registry".to_owned()))?;
        let reach = inner.rule.reach(&host, named)?;
        // A proxy resolves names itself, and may reach private networks.
        if reach == Reach::Public
            && !inner.rule.proxies.is_empty()
            && let Domain::Name(name) = &host.domain
            && let Err(error) = inner.resolver.find(name).await
            && error.is::<OutOfReach>()
        {
            return Err(RegistryError::Refused(error.to_string()));
        }
        let clients = match reach {
            Reach::Public => &inner.public,
            Reach::Near | Reach::Any if host.domain.is_loopback() => &inner.loopback,
            Reach::Near => &inner.near,
            Reach::Any => &inner.any,
        };
        match patience {
            Patience::Stall => clients.reading.get(),
            Patience::None => clients.sending.get(),
        }
    }

    /// Returns the client that builds requests.
    pub(super) fn maker(&self) -> &Client {
        &self.0.maker
    }

    /// Whether the client may see the text of a response, because it is on this machine.
    pub(super) fn is_known(&self, url: &Url, named: &Named) -> bool {
        host_of(url).is_some_and(|host| {
            let is_named = named.asker == Asker::Here && named.host.as_ref() == Some(&host);
            is_named || self.0.rule.is_known(&host)
        })
    }
}

impl Clients {
    fn new(settings: &Settings, resolver: &Resolver, proxies: Proxies) -> Self {
        let lazy = |silence| Lazy {
            resolver: resolver.clone(),
            proxies,
            silence,
            made: OnceLock::new(),
        };
        Self {
            reading: lazy(Some(settings.stall)),
            sending: lazy(None),
        }
    }
}

impl Lazy {
    fn get(&self) -> Result<&Client, RegistryError> {
        if let Some(client) = self.made.get() {
            return Ok(client);
        }
        let mut builder = Client::builder()
            .user_agent(user_agent())
            .connect_timeout(CONNECT_TIMEOUT)
            // Parts use separate connections.
            .http1_only()
            .dns_resolver(self.resolver.clone())
            .redirect(redirect::Policy::none());
        if let Some(silence) = self.silence {
            builder = builder.read_timeout(silence);
        }
        if self.proxies == Proxies::None {
            builder = builder.no_proxy();
        }
        let client = builder.build()?;
        Ok(self.made.get_or_init(|| client))
    }
}

impl Rule {
    fn new(settings: &Settings) -> Self {
        let mirrors = settings.mirrors.iter();
        let mirrors = mirrors.filter_map(|mirror| host_of(&Url::parse(mirror).ok()?));
        let mut known = settings.allowed.clone();
        known.extend(Pattern::parse(DEFAULT_HOST));
        known.extend(mirrors.map(Pattern::exactly));
        let proxies = settings.proxies.iter();
        let proxies = proxies.filter_map(|host| Some(Host::parse(host)?.domain));
        Self {
            known,
            proxies: proxies.collect(),
        }
    }

    fn is_known(&self, host: &Host) -> bool {
        self.known.iter().any(|pattern| pattern.matches(host))
    }

    /// Which networks the addresses of a host may be in. An address in the URL itself is checked here.
    fn reach(&self, host: &Host, named: &Named) -> Result<Reach, RegistryError> {
        if self.is_known(host) {
            return Ok(Reach::Any);
        }
        let is_named = named.host.as_ref() == Some(host);
        let reach = match named.asker {
            Asker::Here if is_named => Reach::Near,
            Asker::Here | Asker::Elsewhere => Reach::Public,
        };
        let is_out_of_reach = match &host.domain {
            Domain::Address(address) => !reach.covers(Place::of(*address)),
            // When a proxy resolves names, our resolver is not asked.
            Domain::Name(_) => {
                let is_local = host.domain.is_local_name() || self.proxies.contains(&host.domain);
                reach == Reach::Public && is_local
            }
        };
        if is_out_of_reach {
            let error = OutOfReach::new(&host.domain, reach);
            return Err(RegistryError::Refused(error.to_string()));
        }
        Ok(reach)
    }
}

/// Resolves names, and drops addresses that are not allowed.
#[derive(Debug, Clone)]
struct Resolver {
    reach: Reach,
    proxies: Arc<HashSet<Domain>>,
    turns: Arc<Semaphore>,
}

/// No allowed address.
#[derive(Debug, thiserror::Error)]
#[error("{host} {why}; DROVER_ALLOWED_REGISTRIES={host} on the server allows it")]
pub(super) struct OutOfReach {
    host: String,
    why: &'static str,
}

impl OutOfReach {
    fn new(host: &Domain, reach: Reach) -> Self {
        Self {
            host: host.to_string(),
            why: match reach {
                Reach::Public => {
                    "is in a private network or on the server itself, where neither other machines \
                     nor registries may lead it"
                }
                Reach::Near | Reach::Any => "is a link-local or reserved address",
            },
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Resolver {
    fn new(reach: Reach, rule: &Rule) -> Self {
        Self {
            reach,
            proxies: Arc::new(rule.proxies.clone()),
            turns: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }

    /// Returns the allowed addresses; at least one.
    async fn find(&self, name: &str) -> Result<Vec<SocketAddr>, BoxError> {
        let Some(Host { domain, .. }) = Host::parse(name) else {
            return Err(format!("{name:?} is no host").into());
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await?;
        let asked = name.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let found = (asked.as_str(), 0).to_socket_addrs()?.collect();
            // The permit is released when the thread is free, even if the caller is gone.
            drop(turn);
            Ok::<Vec<SocketAddr>, std::io::Error>(found)
        });
        let mut found = found.await??;
        if !self.proxies.contains(&domain) {
            found.retain(|address| self.may_reach(address.ip()));
        }
        if found.is_empty() {
            return Err(OutOfReach::new(&domain, self.reach).into());
        }
        Ok(found)
    }

    fn may_reach(&self, address: IpAddr) -> bool {
        self.reach.covers(Place::of(address))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.find(name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The host and port of a URL; `None` if it is not HTTP.
fn host_of(url: &Url) -> Option<Host> {
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let mut host = Host::parse(url.host_str()?)?;
    host.port = url.port_or_known_default();
    Some(host)
}

/// In Ollama's form, since the public registry refuses some models to old versions.
fn user_agent() -> String {
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    format!(
        "ollama/{OLLAMA_VERSION} ({arch} linux) drover/{}",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests;
