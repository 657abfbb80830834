//! Where the registry client connects to: what this machine's settings name, what is asked for on
//! this machine itself, and of the rest what lies on the internet.
//!
//! Clients anywhere may name a registry, and registries may lead anywhere; neither may make the
//! daemon talk to the network around it. An address in a URL is judged here before every request,
//! also after a redirect; the addresses of a name are judged by [`Resolver`] in the moment of the
//! connection, so that no second look-up can give others.

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

/// Look-ups at once: each may hold a thread for as long as a dead resolver is waited for.
const MAX_LOOKUPS: usize = 16;

/// Who names a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Somebody on this machine: a registry on it or beside it is as good as any.
    Here,
    /// Somebody who should not see more of this network than we show.
    Elsewhere,
}

/// How far away what a client connects to has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Public,
    /// Also private networks and this machine.
    Near,
    /// Whatever the settings name.
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

/// The connections and the rule for them; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Http(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rule: Rule,
    public: Clients,
    near: Clients,
    any: Clients,
    /// Never by a proxy: no other machine reaches what is asked for.
    loopback: Clients,
    resolver: Resolver,
    /// Makes requests and sends none.
    maker: Client,
}

/// Redirects are always returned: where they lead is judged anew.
#[derive(Debug)]
struct Clients {
    /// Gives up an answer that stalls.
    reading: Lazy,
    /// Who takes an upload is silent until the last byte is there.
    sending: Lazy,
}

/// A client that is made when it is needed: it reads the system's certificates.
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

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Stall,
    None,
}

/// The registry that somebody has named, and who.
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

/// Which hosts are known.
#[derive(Debug)]
struct Rule {
    known: Vec<Pattern>,
    /// What the HTTP client has to reach to reach anything.
    proxies: HashSet<Domain>,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self, RegistryError> {
        // Already installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let rule = Rule::new(settings);
        // Each with its own turns: who waits for strangers' names does not hold up the others.
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

    /// The client that may send a request to an address.
    ///
    /// # Errors
    /// `Refused`: none may.
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
        // A proxy looks names up by itself, and may find more than the internet.
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

    /// What makes requests; any client that may sends them.
    pub(super) fn maker(&self) -> &Client {
        &self.0.maker
    }

    /// Whether what an address answers may be told: somebody on this machine wants to hear it.
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
            // Parts come over connections of their own.
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

    /// How near the addresses of a host may be. What the URL itself says is judged here.
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
            // Where a proxy looks names up, the resolver here does not see them.
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

/// Looks names up, and keeps to itself what is out of reach.
#[derive(Debug, Clone)]
struct Resolver {
    reach: Reach,
    proxies: Arc<HashSet<Domain>>,
    turns: Arc<Semaphore>,
}

/// No address that may be connected to.
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

    /// The addresses that may be connected to; at least one.
    async fn find(&self, name: &str) -> Result<Vec<SocketAddr>, BoxError> {
        let Some(Host { domain, .. }) = Host::parse(name) else {
            return Err(format!("{name:?} is no host").into());
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await?;
        let asked = name.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let found = (asked.as_str(), 0).to_socket_addrs()?.collect();
            // The turn is over when the thread is free, whether anybody still waits or not.
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

/// The host and port that a URL leads to; `None` for what is not HTTP.
fn host_of(url: &Url) -> Option<Host> {
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let mut host = Host::parse(url.host_str()?)?;
    host.port = url.port_or_known_default();
    Some(host)
}

/// In Ollama's form: the public registry refuses models to versions that it finds too old.
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
