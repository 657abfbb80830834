//! Identifies the client of a request, for fair scheduling.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use tokio::time::Instant;

use crate::inference::{RequestOptions, Waiting, earlier};
use crate::keys::{Class, Key};
use crate::model::Digest;
use crate::protocol::Priority;
use crate::server::access::{Access, Deadline, Patience};
use crate::server::origin::{Origin, Peer};

/// The client as `ORIGIN/NAME/REQUEST`: clients of one origin share the origin's part, and the requests of a client
/// share the client's part. The origin is the API key, or the address where there is no key. The name is the user that
/// a front end names, or a text sent as a key where no keys are defined, or otherwise the address; since anyone can
/// make up names, they only count within an origin. The request is a number. Names are hashed, so they do not leave
/// this module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    pub(crate) name: String,
    priority: Priority,
    /// The request belongs to a batch job.
    is_job: bool,
    deadline: Option<Instant>,
    waiting: Waiting,
}

/// Marks a request, in its extensions, as part of a batch job of this client.
#[derive(Debug, Clone)]
pub(crate) struct AsJob(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        if let Some(AsJob(client)) = parts.extensions.get() {
            return Ok(Self {
                name: client.clone(),
                priority: Priority::Batch,
                is_job: true,
                ..Self::default()
            });
        }
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        let key = parts.extensions.get().and_then(Access::key);
        let client = Self::new(
            &parts.headers,
            peer.map(|peer| peer.0.0.ip()),
            key.map(|key| &**key),
        );
        let deadline = parts.extensions.get().map(|Deadline(at)| *at);
        let patience = parts.extensions.get::<Patience>();
        Ok(Self {
            deadline,
            waiting: patience
                .map(|Patience(waiting)| waiting.clone())
                .unwrap_or_default(),
            ..client
        })
    }
}

/// The header by which a request lets others go first (`background`).
const CLASS: &str = "x-request-class";

/// Number of requests so far.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl Client {
    /// Records in a request which client it belongs to, and whether it is interactive. A request that already says that
    /// it may wait keeps that.
    pub(crate) fn mark(&self, common: &mut RequestOptions) {
        common.client.clone_from(&self.name);
        common.is_job = self.is_job;
        common.priority = common.priority.max(self.priority);
        common.deadline = earlier(common.deadline, self.deadline);
        common.waiting = self.waiting.clone();
    }

    /// Whether the request belongs to a batch job.
    pub(crate) fn is_job(&self) -> bool {
        self.is_job
    }

    /// The client without the request's number, which many requests share.
    pub(crate) fn without_request(&self) -> String {
        let name = self.name.rsplit_once('/');
        name.map_or_else(|| self.name.clone(), |(name, _)| name.to_owned())
    }

    fn new(headers: &HeaderMap, address: Option<IpAddr>, key: Option<&Key>) -> Self {
        let made_up = [header::AUTHORIZATION.as_str(), "x-api-key"];
        let names = ["x-openwebui-user-id"].into_iter();
        let named = names
            .chain(made_up.into_iter().filter(|_| key.is_none()))
            .find_map(|name| headers.get(name))
            .map(|name| Digest::of(name.as_bytes()).hex());
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let name = named.unwrap_or_else(|| address.to_string());
        let request = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let origin = match key {
            Some(key) => key.client(),
            None => Origin::of(address).to_string(),
        };
        let of_key = key.map(|key| key.record.class);
        let wanted = headers.get(CLASS).and_then(|class| class.to_str().ok());
        let is_background = of_key == Some(Class::Background) || wanted == Some("background");
        Self {
            name: format!("{origin}/{name}/{request}"),
            priority: if is_background {
                Priority::Batch
            } else {
                Priority::Interactive
            },
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::keys::{Keys, Wish};

    #[test]
    fn a_request_that_may_wait_does_so() {
        let person = Client::new(&HeaderMap::new(), None, None);
        let job = Client {
            name: "a/b/1".to_owned(),
            priority: Priority::Batch,
            is_job: true,
            ..Client::default()
        };
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
            let client = Client::new(headers, Some(address.parse().unwrap()), None).name;
            let [origin, name, _request] = client.split('/').collect::<Vec<_>>()[..] else {
                panic!("{client}");
            };
            (origin.to_owned(), name.to_owned())
        };
        let twice = [(); 2].map(|()| Client::new(&HeaderMap::new(), None, None));
        assert_ne!(twice[0].name, twice[1].name);
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

    #[test]
    fn a_key_is_an_origin_wherever_it_comes_from() {
        let keys = Keys::none();
        let wish = Wish {
            name: "one".to_owned(),
            class: Class::Background,
            ..Wish::default()
        };
        let (_, key) = keys.create(wish, Timestamp::now()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer k".parse().unwrap());
        let client = |headers: &HeaderMap, address: &str| {
            Client::new(headers, Some(address.parse().unwrap()), Some(&key))
        };
        let here = client(&headers, "10.0.0.1");
        assert!(
            here.name
                .starts_with(&format!("{}/10.0.0.1/", key.client())),
            "{}",
            here.name
        );
        assert_eq!(here.priority, Priority::Batch);
        assert!(
            keys.of_client(&here.name, Timestamp::now())
                .unwrap()
                .is_some()
        );
        assert!(
            keys.of_client(&here.without_request(), Timestamp::now())
                .unwrap()
                .is_some()
        );
        headers.insert("x-openwebui-user-id", "u1".parse().unwrap());
        assert!(!client(&headers, "10.0.0.1").name.contains("10.0.0.1"));
    }
}
