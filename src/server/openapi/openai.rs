//! OpenAI's routes, without the Responses API.

use super::describe::{Api, delete, get, post};
use super::forms::{FileForm, PartForm};
use crate::api::anthropic;
use crate::api::openai::{
    BatchError, BatchErrors, BatchInputDetails, BatchObject, BatchOutputDetails, BatchRequest,
    BatchUsage, ChatChunk, ChatCompletion, ChatRequest, ChatUpdate, CompleteRequest, Completion,
    CompletionChunk, CompletionRequest, Decision, DecisionRequest, Deleted, EmbeddingRequest,
    EmbeddingResponse, ErrorBody, FileObject, Model, ModelList, PartObject, RequestCounts,
    StoredChat, StoredMessage, ToolCallFunction, Transcription, TranscriptionRequest, UploadObject,
    UploadRequest,
};

pub(super) fn routes() -> Api {
    let api = Api::new(
        "OpenAI",
        "OpenAI's API. How each parameter is treated: [openai.md](openai.md), [batches.md](batches.md). What is stored belongs to the key of the request, see [keys.md](keys.md#what-a-key-stores-is-its-own).",
    )
    .errors::<ErrorBody>();
    batches(files(chats(inference(api))))
        .whole::<ToolCallFunction>()
        .whole::<BatchObject>()
        .whole::<BatchErrors>()
        .whole::<BatchError>()
        .whole::<BatchUsage>()
        .whole::<BatchInputDetails>()
        .whole::<BatchOutputDetails>()
        .whole::<RequestCounts>()
}

fn inference(api: Api) -> Api {
    api.route(
        post(
            "/v1/chat/completions",
            "Continues a conversation; stores it if `store` is true",
        )
            .takes::<ChatRequest>()
            .gives::<ChatCompletion>()
            .events::<ChatChunk>(),
    )
    .route(
        post("/v1/completions", "Completes a text")
            .takes::<CompletionRequest>()
            .gives::<Completion>()
            .events::<CompletionChunk>(),
    )
    .route(
        post("/v1/embeddings", "Computes embeddings of texts")
            .takes::<EmbeddingRequest>()
            .gives::<EmbeddingResponse>(),
    )
    .route(
        post(
            "/v1/decisions",
            "Answers typed questions about an input by probabilities",
        )
        .takes::<DecisionRequest>()
        .gives::<Decision>(),
    )
    .route(
        post("/v1/audio/transcriptions", "Transcribes a sound file")
            .takes_form::<TranscriptionRequest>()
            .gives::<Transcription>()
            .gives_text("text/plain"),
    )
    .route(
        get(
            "/v1/models",
            "Lists the models; in Anthropic's form for a request with `anthropic-version`",
        )
        .gives::<ModelList>()
        .gives::<anthropic::ModelList>(),
    )
    .route(
        get(
            "/v1/models/{*model}",
            "Shows a model, whose name may contain slashes; in Anthropic's form for a request with `anthropic-version`",
        )
        .gives::<Model>()
        .gives::<anthropic::Model>(),
    )
}

fn chats(api: Api) -> Api {
    api.route(
        get("/v1/chat/completions", "Lists the stored chats of the key")
            .pages()
            .query("model", "Only chats with this model")
            .query(
                "metadata[KEY]",
                "Only chats with this value in their metadata",
            )
            .gives_page::<StoredChat>(),
    )
    .route(get("/v1/chat/completions/{id}", "Shows a stored chat").gives::<StoredChat>())
    .route(
        post(
            "/v1/chat/completions/{id}",
            "Replaces the metadata of a stored chat",
        )
        .takes::<ChatUpdate>()
        .gives::<StoredChat>(),
    )
    .route(delete("/v1/chat/completions/{id}", "Deletes a stored chat").gives::<Deleted>())
    .route(
        get(
            "/v1/chat/completions/{id}/messages",
            "Lists the messages that a stored chat answers",
        )
        .pages()
        .gives_page::<StoredMessage>(),
    )
}

fn files(api: Api) -> Api {
    api.route(
        get("/v1/files", "Lists the files of the key")
            .pages()
            .query("purpose", "Only files with this purpose")
            .gives_page::<FileObject>(),
    )
    .route(
        post("/v1/files", "Stores a file")
            .takes_form::<FileForm>()
            .gives::<FileObject>(),
    )
    .route(get("/v1/files/{id}", "Shows a file").gives::<FileObject>())
    .route(delete("/v1/files/{id}", "Deletes a file").gives::<Deleted>())
    .route(get("/v1/files/{id}/content", "Returns the content of a file").gives_bytes())
    .route(
        post("/v1/uploads", "Begins an upload in parts")
            .takes::<UploadRequest>()
            .gives::<UploadObject>(),
    )
    .route(
        post("/v1/uploads/{id}/parts", "Stores a part")
            .takes_form::<PartForm>()
            .gives::<PartObject>(),
    )
    .route(
        post(
            "/v1/uploads/{id}/complete",
            "Ends the upload: the parts become a file",
        )
        .takes::<CompleteRequest>()
        .gives::<UploadObject>(),
    )
    .route(post("/v1/uploads/{id}/cancel", "Cancels the upload").gives::<UploadObject>())
}

fn batches(api: Api) -> Api {
    api.route(
        get(
            "/v1/batches",
            "Lists the batch jobs of the key, newest first",
        )
        .query("after", "Id of the job that comes before the page")
        .query("limit", "The most jobs of the page")
        .gives_page::<BatchObject>(),
    )
    .route(
        post(
            "/v1/batches",
            "Starts a batch job: a file of requests in, a file of answers out",
        )
        .takes::<BatchRequest>()
        .gives::<BatchObject>(),
    )
    .route(get("/v1/batches/{id}", "Shows a batch job").gives::<BatchObject>())
    .route(
        post(
            "/v1/batches/{id}/cancel",
            "Ends a batch job; what is done stays",
        )
        .gives::<BatchObject>(),
    )
}
