//! Ollama's routes, and drover's additions to them.

use super::describe::{Api, delete, get, head, post};
use crate::api::ollama::{
    ChatRequest, ChatResponse, CloudStatus, CopyRequest, CreateRequest, DebugInfo, DeviceUse,
    EmbedRequest, EmbedResponse, EmbeddingsRequest, EmbeddingsResponse, ErrorBody, FitChoice,
    FitDevice, FitRequest, FitResponse, GenerateRequest, GenerateResponse, GpuState, ListResponse,
    ListedModel, Logprob, ModelDetails, ModelRequest, ProcessModel, ProcessResponse, Progress,
    Recommendations, ResponseMessage, ShowRequest, ShowResponse, Tensor, ThinkingInfo, TopLogprob,
    TransferRequest, VersionResponse,
};

pub(super) fn routes() -> Api {
    let api = Api::new("Ollama", "Ollama's own API.").errors::<ErrorBody>();
    cloud(management(inference(api)))
        .whole::<ErrorBody>()
        .whole::<ChatResponse>()
        .whole::<ResponseMessage>()
        .whole::<GenerateResponse>()
        .whole::<DebugInfo>()
        .whole::<Logprob>()
        .whole::<TopLogprob>()
        .whole::<EmbedResponse>()
        .whole::<EmbeddingsResponse>()
        .whole::<FitResponse>()
        .whole::<FitDevice>()
        .whole::<FitChoice>()
        .whole::<DeviceUse>()
        .whole::<ListResponse>()
        .whole::<ListedModel>()
        .whole::<ModelDetails>()
        .whole::<ProcessResponse>()
        .whole::<ProcessModel>()
        .whole::<GpuState>()
        .whole::<ShowResponse>()
        .whole::<Tensor>()
        .whole::<ThinkingInfo>()
        .whole::<Progress>()
        .whole::<VersionResponse>()
}

fn inference(api: Api) -> Api {
    api.route(
        post(
            "/api/chat",
            "Continues a conversation; without messages it loads or unloads the model",
        )
        .takes::<ChatRequest>()
        .gives::<ChatResponse>()
        .lines::<ChatResponse>(),
    )
    .route(
        post(
            "/api/generate",
            "Answers a prompt; without one it loads or unloads the model",
        )
        .takes::<GenerateRequest>()
        .gives::<GenerateResponse>()
        .lines::<GenerateResponse>(),
    )
    .route(
        post("/api/embed", "Computes embeddings of texts")
            .takes::<EmbedRequest>()
            .gives::<EmbedResponse>(),
    )
    .route(
        post(
            "/api/embeddings",
            "Computes the embedding of one text; older than `/api/embed`",
        )
        .takes::<EmbeddingsRequest>()
        .gives::<EmbeddingsResponse>(),
    )
}

fn management(api: Api) -> Api {
    api.route(get("/api/tags", "Lists the models").gives::<ListResponse>())
        .route(get("/api/ps", "Lists the models that are loaded").gives::<ProcessResponse>())
        .route(
            post(
                "/api/show",
                "Shows a model: template, parameters, header, capabilities",
            )
            .takes::<ShowRequest>()
            .gives::<ShowResponse>(),
        )
        .route(
            post(
                "/api/fit",
                "Plans where a model would be loaded, without loading it; not in Ollama",
            )
            .takes::<FitRequest>()
            .gives::<FitResponse>(),
        )
        .route(
            post("/api/pull", "Downloads a model")
                .takes::<TransferRequest>()
                .gives::<Progress>()
                .lines::<Progress>(),
        )
        .route(
            post("/api/push", "Uploads a model")
                .takes::<TransferRequest>()
                .gives::<Progress>()
                .lines::<Progress>(),
        )
        .route(
            post(
                "/api/create",
                "Creates a model from files or from another model",
            )
            .takes::<CreateRequest>()
            .gives::<Progress>()
            .lines::<Progress>(),
        )
        .route(
            post("/api/copy", "Gives a model a second name")
                .takes::<CopyRequest>()
                .done(),
        )
        .route(
            delete("/api/delete", "Deletes a model")
                .takes::<ModelRequest>()
                .done(),
        )
        .route(head("/api/blobs/{digest}", "Says whether a file is in the store").done())
        .route(
            post("/api/blobs/{digest}", "Uploads a file for `/api/create`")
                .takes_bytes()
                .status("201")
                .done(),
        )
        .route(
            get(
                "/api/version",
                "The version of Ollama that clients may expect",
            )
            .gives::<VersionResponse>(),
        )
        .route(
            get("/", "Says that the server runs; browsers are sent to `/ui`")
                .gives_text("text/plain"),
        )
}

/// Routes that need Ollama's cloud are answered as if it were switched off.
fn cloud(api: Api) -> Api {
    api.route(get("/api/status", "Says that there is no cloud").gives::<CloudStatus>())
        .route(
            get(
                "/api/experimental/model-recommendations",
                "Recommends nothing",
            )
            .gives::<Recommendations>(),
        )
        .route(
            post("/api/me", "Answers 401: there is no cloud")
                .status("401")
                .gives::<ErrorBody>(),
        )
        .route(
            post("/api/signout", "Answers 401: there is no cloud")
                .status("401")
                .gives::<ErrorBody>(),
        )
        .route(
            delete("/api/user/keys/{key}", "Answers 401: there is no cloud")
                .status("401")
                .gives::<ErrorBody>(),
        )
        .route(
            post(
                "/api/experimental/web_search",
                "Answers 403: there is no cloud",
            )
            .status("403")
            .gives::<ErrorBody>(),
        )
        .route(
            post(
                "/api/experimental/web_fetch",
                "Answers 403: there is no cloud",
            )
            .status("403")
            .gives::<ErrorBody>(),
        )
}
