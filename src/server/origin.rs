//! The origin of requests, by which limits and fair scheduling distinguish clients.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::Extensions;
use axum::http::request::Parts;

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

/// An IPv4 address, or an IPv6 network; this machine is one, whatever its address.
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
}
