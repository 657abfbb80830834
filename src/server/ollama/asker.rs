//! Whether a request comes from a program on this machine: only then may it name registries in private
//! networks.

use std::convert::Infallible;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Version};

use crate::net::is_ours;
use crate::registry::Asker;
use crate::server::origin::Peer;

/// Headers of browsers and proxies, through which a web page or a remote client may send the request.
const GO_BETWEENS: [&str; 10] = [
    "origin",
    "referer",
    "sec-fetch-site",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
];

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        let peer = peer.map(|ConnectInfo(Peer(address))| address.ip().to_canonical());
        let is_here = peer.is_some_and(|peer| peer.is_loopback() || is_ours(peer));
        Ok(if is_here && is_direct(parts.version, &parts.headers) {
            Self::Here
        } else {
            Self::Elsewhere
        })
    }
}

/// Whether the client is connected directly. Proxies that add no header use HTTP/1.0.
fn is_direct(version: Version, headers: &HeaderMap) -> bool {
    version >= Version::HTTP_11 && GO_BETWEENS.iter().all(|name| !headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::Request;

    use super::*;

    async fn asker(peer: Option<&str>, version: Version, header: Option<&str>) -> Asker {
        let mut request = Request::builder().version(version);
        if let Some(name) = header {
            request = request.header(name, "x");
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().unwrap();
            parts.extensions.insert(ConnectInfo(Peer(peer)));
        }
        let Ok(asker) = Asker::from_request_parts(&mut parts, &()).await;
        asker
    }

    #[tokio::test]
    async fn only_who_connects_from_this_machine_itself_is_here() {
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let direct = asker(Some(peer), Version::HTTP_11, None).await;
            assert_eq!(direct, Asker::Here, "{peer}");
            let typed = asker(Some(peer), Version::HTTP_2, Some("user-agent")).await;
            assert_eq!(typed, Asker::Here, "{peer}");
            let old = asker(Some(peer), Version::HTTP_10, None).await;
            assert_eq!(old, Asker::Elsewhere, "{peer}");
            for name in GO_BETWEENS {
                let through = asker(Some(peer), Version::HTTP_11, Some(name)).await;
                assert_eq!(through, Asker::Elsewhere, "{peer} {name}");
            }
        }
        for peer in [Some("192.0.2.1:1"), Some("[2001:db8::1]:1"), None] {
            let other = asker(peer, Version::HTTP_11, None).await;
            assert_eq!(other, Asker::Elsewhere, "{peer:?}");
        }
    }
}
