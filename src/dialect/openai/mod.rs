//! OpenAI's spelling of requests and answers.
