//! Identifies the client of a request, for fair scheduling.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::inference::RequestOptions;
use crate::model::Digest;
use crate::protocol::Priority;
use crate::server::origin::{Origin, Peer};

/// The client as `ORIGIN/NAME/REQUEST`: clients of one origin share the origin's part, and the requests of
/// a client share the client's part. The name is the API key, the user that a front end names, or otherwise
/// the address; since anyone can make up names, they only count within an origin. The request is a number.
/// Keys and names are hashed, so that they do not leave this module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) String, Priority);

/// Marks a request, in its extensions, as one of a batch job of this client.
#[derive(Debug, Clone)]
pub(crate) struct AsJob(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        if let Some(AsJob(client)) = parts.extensions.get() {
            return Ok(Self(client.clone(), Priority::Batch));
        }
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        Ok(Self::new(&parts.headers, peer.map(|peer| peer.0.0.ip())))
    }
}

/// Requests so far.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl Client {
    /// Notes in a request whose it is, and whether a person waits for it. A request that itself says that it may
    /// wait keeps that.
    pub(crate) fn mark(&self, common: &mut RequestOptions) {
        common.client.clone_from(&self.0);
        common.priority = common.priority.max(self.1);
    }

    /// Whether it is a line of a batch job.
    pub(crate) fn is_job(&self) -> bool {
        self.1 == Priority::Batch
    }

    /// The client alone, which many requests share.
    pub(crate) fn without_request(&self) -> String {
        let name = self.0.rsplit_once('/');
        name.map_or_else(|| self.0.clone(), |(name, _)| name.to_owned())
    }

    fn new(headers: &HeaderMap, address: Option<IpAddr>) -> Self {
        let named = [
            "x-openwebui-user-id",
            header::AUTHORIZATION.as_str(),
            "x-api-key",
        ]
        .into_iter()
        .find_map(|name| headers.get(name))
        .map(|name| Digest::of(name.as_bytes()).hex());
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let name = named.unwrap_or_else(|| address.to_string());
        let request = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let client = format!("{}/{name}/{request}", Origin::of(address));
        Self(client, Priority::Interactive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_may_wait_does_so() {
        let person = Client::new(&HeaderMap::new(), None);
        let job = Client("a/b/1".to_owned(), Priority::Batch);
        for (client, wish, expected) in [
            (&person, Priority::Interactive, Priority::Interactive),
            (&person, Priority::Batch, Priority::Batch),
            (&job, Priority::Interactive, Priority::Batch),
        ] {
            let mut common = RequestOptions {
                priority: wish,
                ..RequestOptions::default()
            };
            client.mark(&mut common);
            assert_eq!(common.priority, expected);
        }
    }

    #[test]
    fn clients_are_told_apart_within_their_origin() {
        let client = |headers: &HeaderMap, address: &str| {
            let client = Client::new(headers, Some(address.parse().unwrap())).0;
            let [origin, name, _request] = client.split('/').collect::<Vec<_>>()[..] else {
                panic!("{client}");
            };
            (origin.to_owned(), name.to_owned())
        };
        let twice = [(); 2].map(|()| Client::new(&HeaderMap::new(), None));
        assert_ne!(twice[0], twice[1]);
        let nobody = HeaderMap::new();
        let plain = client(&nobody, "10.0.0.1");
        assert_eq!(plain, ("10.0.0.1".to_owned(), "10.0.0.1".to_owned()));
        let neighbours = ["2001:db8::1", "2001:db8::2"].map(|address| client(&nobody, address));
        assert_eq!(neighbours[0].0, neighbours[1].0);
        assert_ne!(neighbours[0].1, neighbours[1].1);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer k".parse().unwrap());
        let key = client(&headers, "10.0.0.1");
        assert!(key.0 == plain.0 && key.1 != plain.1 && !key.1.contains("Bearer"));
        // The same key from another origin is another client.
        assert_ne!(client(&headers, "10.0.0.2").0, key.0);
        headers.insert("x-openwebui-user-id", "u1".parse().unwrap());
        assert_ne!(client(&headers, "10.0.0.1"), key);
    }
}
