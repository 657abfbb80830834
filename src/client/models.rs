//! Listing, inspecting, copying and deleting models, and checking that the daemon runs.

use reqwest::Method;

use super::{Client, ClientError};
use crate::api::ollama::{
    CopyRequest, FitRequest, FitResponse, ListResponse, ModelRequest, ProcessResponse, ShowRequest,
    ShowResponse, VersionResponse,
};

impl Client {
    /// Checks whether the daemon answers.
    ///
    /// # Errors
    /// Returns [`ClientError::Unreachable`] when nothing listens.
    pub async fn heartbeat(&self) -> Result<(), ClientError> {
        Self::send(self.request(Method::HEAD, "/")).await.map(drop)
    }

    /// Returns the daemon's version.
    ///
    /// # Errors
    /// Fails when the response does not match the API; so do all methods below.
    pub async fn version(&self) -> Result<String, ClientError> {
        Ok(self.get::<VersionResponse>("/api/version").await?.version)
    }

    /// Returns the models on disk.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub async fn list(&self) -> Result<ListResponse, ClientError> {
        self.get("/api/tags").await
    }

    /// Returns the models in memory.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub async fn ps(&self) -> Result<ProcessResponse, ClientError> {
        self.get("/api/ps").await
    }

    /// Returns what is known about a model.
    ///
    /// # Errors
    /// Status 404 when there is no such model.
    pub async fn show(&self, request: &ShowRequest) -> Result<ShowResponse, ClientError> {
        self.post("/api/show", request).await
    }

    /// Returns where a model would be placed.
    ///
    /// # Errors
    /// Status 404 when there is no such model, or the server is an Ollama.
    pub async fn fit(&self, request: &FitRequest) -> Result<FitResponse, ClientError> {
        self.post("/api/fit", request).await
    }

    /// Gives a model a second name.
    ///
    /// # Errors
    /// Status 404 when there is no such model.
    pub async fn copy(&self, source: &str, destination: &str) -> Result<(), ClientError> {
        let body = CopyRequest {
            source: source.to_owned(),
            destination: destination.to_owned(),
        };
        Self::send(self.request(Method::POST, "/api/copy").json(&body))
            .await
            .map(drop)
    }

    /// Deletes a model.
    ///
    /// # Errors
    /// Status 404 when there is no such model.
    pub async fn delete(&self, model: &str) -> Result<(), ClientError> {
        let body = ModelRequest {
            model: model.to_owned(),
            name: model.to_owned(),
        };
        Self::send(self.request(Method::DELETE, "/api/delete").json(&body))
            .await
            .map(drop)
    }
}
