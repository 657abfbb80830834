//! STUB (owner: server helper): OpenAI's wire types.
