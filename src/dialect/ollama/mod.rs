//! Ollama's spelling of requests and answers.
