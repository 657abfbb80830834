//! The origin of requests, by which limits and fair scheduling distinguish clients.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// The network bits of an IPv6 address: the owner of one address can use all others of its network.
const NETWORK: u128 = !0 << 64;

/// The peer of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Peer {
    pub(super) fn origin(self) -> Origin {
        Origin::of(self.0.ip())
    }
}

/// The trusted proxies.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies(Vec<IpNet>);

/// The header in which proxies name the client. Only this one: for other headers we cannot tell whether the proxy or
/// the client wrote them.
const FORWARDED_FOR: &str = "x-forwarded-for";

impl Proxies {
    pub(super) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client whose request a peer passes on; the peer itself if it is not a proxy, or names no client.
    pub(super) fn client(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        if !self.contain(peer.0.ip()) {
            return peer;
        }
        // Each proxy appends its own client: what stands before an address that is not trusted may be made up.
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let texts = lines.filter_map(|line| line.to_str().ok());
        let mut addresses = texts
            .flat_map(|line| line.rsplit(','))
            .map_while(address_of);
        let mut client = None;
        for address in addresses.by_ref() {
            // A proxy's loopback address is not ours.
            if !address.is_loopback() {
                client = Some(address);
            }
            if !self.contain(address) {
                break;
            }
        }
        client.map_or(peer, |address| {
            Peer(SocketAddr::new(address, peer.0.port()))
        })
    }
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]:4711`.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = bare.or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

/// An IPv4 address, or an IPv6 network; all addresses of this machine are one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    /// This machine.
    pub(crate) const LOCAL: Self = Self(IpAddr::V4(Ipv4Addr::LOCALHOST));

    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::LOCAL,
            // All machines on a link share the link-local network.
            IpAddr::V6(address) if !address.is_unicast_link_local() => {
                Self(Ipv6Addr::from_bits(address.to_bits() & NETWORK).into())
            }
            address => Self(address),
        }
    }

    /// Returns the origin of a request.
    pub(super) fn of_request(extensions: &Extensions) -> Self {
        let peer = extensions.get::<ConnectInfo<Peer>>();
        peer.map_or(Self::LOCAL, |peer| peer.0.origin())
    }

    pub(super) fn is_local(self) -> bool {
        self == Self::LOCAL
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of_request(&parts.extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_many_addresses_is_one() {
        let origin = |text: &str| Origin::of(text.parse().unwrap());
        for (address, like) in [
            ("127.0.0.1", "::1"),
            ("127.8.8.8", "::ffff:127.0.0.1"),
            ("192.0.2.7", "::ffff:192.0.2.7"),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ] {
            assert_eq!(origin(address), origin(like), "{address}");
        }
        for (address, unlike) in [
            ("127.0.0.1", "192.0.2.7"),
            ("192.0.2.7", "192.0.2.8"),
            ("2001:db8:1:2::1", "2001:db8:1:3::1"),
            ("fe80::1", "fe80::2"),
        ] {
            assert_ne!(origin(address), origin(unlike), "{address}");
        }
        assert!(origin("::1").is_local() && !origin("2001:db8::1").is_local());
    }

    #[test]
    fn only_believed_proxies_say_where_a_request_comes_from() {
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "::1/128"].map(|text| text.parse().unwrap());
        let proxies = Proxies::new(networks.to_vec());
        let client = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            let peer = Peer(SocketAddr::new(peer.parse().unwrap(), 1));
            proxies.client(peer, &headers).0.ip().to_string()
        };
        for (peer, lines, expected) in [
            // A client's own header is not trusted.
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.1.1.1", &[], "10.1.1.1"),
            ("10.1.1.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.1.1.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("127.0.0.1", &["[2001:db8::7]:1"], "2001:db8::7"),
            ("::1", &["2001:db8::7"], "2001:db8::7"),
            // Through two proxies; the first entry is made up.
            (
                "10.1.1.1",
                &["198.51.100.1, 203.0.113.9, 10.2.2.2"],
                "203.0.113.9",
            ),
            (
                "10.1.1.1",
                &["198.51.100.1", "203.0.113.9", "10.2.2.2"],
                "203.0.113.9",
            ),
            ("10.1.1.1", &["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
            // All are trusted.
            ("10.1.1.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.1.1.1", &["127.0.0.1"], "10.1.1.1"),
            ("10.1.1.1", &["127.0.0.1, 10.2.2.2"], "10.2.2.2"),
            ("10.1.1.1", &["unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.1.1.1", &["nonsense"], "10.1.1.1"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
    }
}
