//! Routes that need Ollama's cloud, which drover does not have.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Answer of `GET /api/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CloudStatus {
    pub cloud: Cloud,
}

/// Whether the cloud is used, and where that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cloud {
    pub disabled: bool,
    /// `config`
    pub source: &'static str,
}

/// Answer of `GET /api/experimental/model-recommendations`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Recommendations {
    pub recommendations: Vec<Value>,
}
