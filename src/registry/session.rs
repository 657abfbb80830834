//! One model's requests to one registry: URLs, redirects, token, one retry after a 401.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Request, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::answer::{MAX_ANSWER_BYTES, body, refused, target};
use super::auth::{Challenge, authorization};
use super::reach::{Http, Named, Patience};
use super::{Key, RegistryError, Settings, Wish};
use crate::model::ModelName;
use crate::model::name::DEFAULT_HOST;

/// The most consecutive redirects.
const MAX_REDIRECTS: usize = 10;

/// One model on one registry.
#[derive(Debug)]
pub(super) struct Session {
    http: Http,
    named: Named,
    /// `https://host/v2/namespace/model`
    base: String,
    tag: String,
    key: std::path::PathBuf,
    /// Longest time for a whole response that is not a blob.
    time: Duration,
    token: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl Session {
    /// The session with the registry in a model's name.
    pub(super) fn new(http: &Http, settings: &Settings, wish: &Wish) -> Self {
        let scheme = if wish.insecure { "http" } else { "https" };
        let address = format!("{scheme}://{}", wish.name.host);
        Self::at(http, settings, wish, &address)
    }

    /// The registries to try for a model, in order: mirrors replace the default one.
    pub(super) fn candidates(http: &Http, settings: &Settings, wish: &Wish) -> Vec<Self> {
        let is_default = wish.name.host.eq_ignore_ascii_case(DEFAULT_HOST);
        let mirrors = settings.mirrors.iter().filter(|_| is_default);
        let mirrors = mirrors.map(|mirror| Self::at(http, settings, wish, mirror));
        mirrors
            .chain(std::iter::once_with(|| Self::new(http, settings, wish)))
            .collect()
    }

    fn at(http: &Http, settings: &Settings, wish: &Wish, address: &str) -> Self {
        let address = address.trim_end_matches('/');
        let ModelName {
            namespace, model, ..
        } = &wish.name;
        Self {
            http: http.clone(),
            named: Named::new(address, wish.asker),
            base: format!("{address}/v2/{namespace}/{model}"),
            tag: wish.name.tag.clone(),
            key: settings.key.clone(),
            time: settings.answer,
            token: Mutex::new(None),
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn manifest_url(&self) -> String {
        format!("{}/manifests/{}", self.base, self.tag)
    }

    pub(super) fn blob_url(&self, digest: &str) -> String {
        format!("{}/blobs/{digest}", self.base)
    }

    /// Sends a request and follows redirects; returns only successful responses.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(super) async fn send(&self, make: impl Make) -> Result<Response, RegistryError> {
        let answer = self.authorized(|token| self.follow(&make, token)).await?;
        self.refused(answer).await
    }

    /// Sends a request; the response may be a redirect.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(super) async fn send_direct(&self, make: impl Make) -> Result<Response, RegistryError> {
        let attempt = async |token: Option<String>| {
            let mut request = make(self.http.maker()).build()?;
            self.authorize(&mut request, token.as_deref());
            self.hop(request, Patience::None).await
        };
        let answer = self.authorized(attempt).await?;
        if answer.status().is_redirection() {
            return Ok(answer);
        }
        self.refused(answer).await
    }

    /// Sends a request to a presigned URL, without a token.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub(super) async fn send_signed(
        &self,
        make: impl FnOnce(&Client) -> RequestBuilder + Send,
    ) -> Result<Response, RegistryError> {
        let request = make(self.http.maker()).build()?;
        self.refused(self.hop(request, Patience::None).await?).await
    }

    /// Reads a whole response of the protocol.
    ///
    /// # Errors
    /// It ends early, is too long, or takes too long.
    pub(super) async fn read(&self, answer: Response) -> Result<Vec<u8>, RegistryError> {
        body(answer, MAX_ANSWER_BYTES, self.time).await
    }

    /// Sends a request with the token, if there is one; after a 401, gets a token and retries once.
    async fn authorized<F>(
        &self,
        attempt: impl Fn(Option<String>) -> F,
    ) -> Result<Response, RegistryError>
    where
        F: Future<Output = Result<Response, RegistryError>>,
    {
        let known = self.lock().clone();
        let response = attempt(known).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let header = response.headers().get(WWW_AUTHENTICATE);
        let header = header.and_then(|value| value.to_str().ok());
        let challenge = Challenge::parse(header.unwrap_or_default());
        // The target of a redirect to another host gets no signature.
        if challenge.realm.is_empty() || !self.is_at_home(response.url()) {
            return Err(RegistryError::Unauthorized);
        }
        drop(response);
        let asked = Url::parse(&self.base)
            .map_err(|error| RegistryError::Malformed(format!("{}: {error}", self.base)))?;
        let token = self.fetch_token(&challenge, &asked).await?;
        *self.lock() = Some(token.clone());
        let response = attempt(Some(token)).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(RegistryError::Unauthorized);
        }
        Ok(response)
    }

    /// Sends a request and follows redirects; only the registry itself gets secrets.
    async fn follow(
        &self,
        make: &impl Make,
        token: Option<String>,
    ) -> Result<Response, RegistryError> {
        let mut request = make(self.http.maker()).build()?;
        for _ in 0..=MAX_REDIRECTS {
            self.authorize(&mut request, token.as_deref());
            let response = self.hop(request, Patience::Stall).await?;
            let Some(next) = redirect(&response)? else {
                return Ok(response);
            };
            request = make(self.http.maker()).build()?;
            *request.url_mut() = next;
        }
        Err(RegistryError::Malformed(format!(
            "the registry leads on more than {MAX_REDIRECTS} times"
        )))
    }

    /// Adds the token to a request to the registry, and removes secrets from any other request.
    fn authorize(&self, request: &mut Request, token: Option<&str>) {
        if !self.is_at_home(request.url()) {
            request.headers_mut().remove(AUTHORIZATION);
            return;
        }
        let Some(token) = token else { return };
        if let Ok(mut header) = HeaderValue::try_from(format!("Bearer {token}")) {
            header.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, header);
        }
    }

    /// Sends one request, if its URL is allowed.
    async fn hop(&self, request: Request, patience: Patience) -> Result<Response, RegistryError> {
        let client = self.http.client(request.url(), &self.named, patience);
        Ok(client.await?.execute(request).await?)
    }

    async fn fetch_token(
        &self,
        challenge: &Challenge,
        asked: &Url,
    ) -> Result<String, RegistryError> {
        let mut nonce = [0; 16];
        fastrand::fill(&mut nonce);
        let url = challenge.token_url(asked, Timestamp::now(), nonce)?;
        let path = self.key.clone();
        let key = tokio::task::spawn_blocking(move || Key::load_or_create(&path))
            .await
            .map_err(std::io::Error::from)??;
        let signature = authorization(&key, &url)?;
        let make = |client: &Client| client.get(url.clone()).header(AUTHORIZATION, &signature);
        let answer = self.refused(self.follow(&make, None).await?).await;
        let answer = answer.map_err(|error| error.with_key(&self.key))?;
        let body = self.read(answer).await?;
        let token: Result<Token, _> = serde_json::from_slice(&body);
        // The parser's error text may quote the response.
        let no_token = |_| RegistryError::Malformed("the registry's token is none".to_owned());
        Ok(token.map_err(no_token)?.token)
    }

    async fn refused(&self, answer: Response) -> Result<Response, RegistryError> {
        let is_known = self.http.is_known(answer.url(), &self.named);
        refused(answer, is_known, self.time).await
    }

    /// Whether a URL has the registry's own scheme, host and port.
    fn is_at_home(&self, url: &Url) -> bool {
        Url::parse(&self.base).is_ok_and(|base| base.origin() == url.origin())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds a request, once for each time that it is sent.
pub(super) trait Make: Fn(&Client) -> RequestBuilder + Send + Sync {}

impl<F: Fn(&Client) -> RequestBuilder + Send + Sync> Make for F {}

/// Returns the target of a redirect that can be followed.
fn redirect(response: &Response) -> Result<Option<Url>, RegistryError> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    if !is_redirect || !response.headers().contains_key(LOCATION) {
        return Ok(None);
    }
    let no_target = || RegistryError::Malformed("the registry leads to no address".to_owned());
    target(response, LOCATION.as_str())?
        .map(Some)
        .ok_or_else(no_target)
}
