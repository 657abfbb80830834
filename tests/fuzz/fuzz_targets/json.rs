//! Any body is a request of each kind, or an error.
#![no_main]

use drover::api::{anthropic, llama_server, ollama, openai, rerank, system_one};
use drover::server::decode_for_fuzzing as decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    decode::<ollama::GenerateRequest>(body);
    decode::<ollama::ChatRequest>(body);
    decode::<ollama::CreateRequest>(body);
    decode::<ollama::EmbedRequest>(body);
    decode::<ollama::ShowRequest>(body);
    decode::<openai::ChatRequest>(body);
    decode::<openai::CompletionRequest>(body);
    decode::<openai::EmbeddingRequest>(body);
    decode::<openai::responses::ResponseRequest>(body);
    decode::<anthropic::MessagesRequest>(body);
    decode::<llama_server::InfillRequest>(body);
    decode::<rerank::RerankRequest>(body);
    decode::<rerank::ScoreRequest>(body);
    decode::<openai::DecisionRequest>(body);
    decode::<system_one::SystemOneRequest>(body);
});
