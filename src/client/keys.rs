//! API keys of the daemon.

use reqwest::Method;

use super::{Client, ClientError};
use crate::api::keys::{KeyCreated, KeyList, KeyRequest};

impl Client {
    /// Makes a key.
    ///
    /// # Errors
    /// The daemon refuses: the name is taken, or this client is not an administrator.
    pub async fn create_key(&self, request: &KeyRequest) -> Result<KeyCreated, ClientError> {
        self.post("/api/keys", request).await
    }

    /// Returns all keys, without their texts.
    ///
    /// # Errors
    /// This client is not an administrator.
    pub async fn keys(&self) -> Result<KeyList, ClientError> {
        self.get("/api/keys").await
    }

    /// Revokes a key; the last one only if `may_be_last`.
    ///
    /// # Errors
    /// Status 404 when there is no such key, 409 when it is the last one.
    pub async fn revoke_key(&self, name: &str, may_be_last: bool) -> Result<(), ClientError> {
        let name = url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>();
        let path = format!("/api/keys/{name}?last={may_be_last}");
        Self::send(self.request(Method::DELETE, &path))
            .await
            .map(drop)
    }
}
