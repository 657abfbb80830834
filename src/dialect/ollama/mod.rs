//! Ollama's dialect: requests and responses.

mod answer;
mod error;
mod fit;
mod info;
mod models;
mod options;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{chat_chunk, embed_answer, embeddings_answer, generate_chunk};
pub use error::{error_body, error_status};
pub use fit::{fit_request, fit_response};
pub use info::KeyValues;
pub use models::{Files, listed, loaded, show};
pub use request::{chat, create, embed, embeddings, generate, keep_alive};
