//! OpenAI's routes with a model that answers.

mod answers;
mod fields;
