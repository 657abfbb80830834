//! The wire types of Ollama's API. Requests and responses can be both encoded and decoded, since the daemon
//! and its own client share them. Keys are emitted in Ollama's order.

mod cloud;
mod embed;
mod fit;
mod generate;
mod manage;
mod models;

pub use cloud::{Cloud, CloudStatus, Recommendations};
pub use embed::{EmbedRequest, EmbedResponse, EmbeddingsRequest, EmbeddingsResponse};
pub use fit::{DeviceUse, FitChoice, FitDevice, FitRequest, FitResponse};
pub use generate::{
    ChatRequest, ChatResponse, DebugInfo, GenerateRequest, GenerateResponse, Logprob, Metrics,
    ResponseMessage, TopLogprob,
};
pub use manage::{
    CopyRequest, CreateRequest, ErrorBody, ModelRequest, Progress, StringOrList, TransferRequest,
    VersionResponse,
};
pub use models::{
    ListResponse, ListedModel, ModelDetails, ModelInfo, ProcessModel, ProcessResponse, ShowRequest,
    ShowResponse, Tensor, ThinkingInfo,
};

pub use crate::metrics::GpuState;
