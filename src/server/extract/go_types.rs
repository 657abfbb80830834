//! The Go types of Ollama's requests, which its error texts name.

/// The Go type at `n_inside` lists or maps inside a field of one of our types; `None` = Ollama's message
/// would be different.
pub(super) fn go_type(owner: &str, field: &str, n_inside: usize) -> Option<&'static str> {
    let kind = field_type(owner, field)?;
    (0..n_inside).try_fold(kind, |kind, _| element(kind))
}

fn element(kind: &'static str) -> Option<&'static str> {
    match kind {
        "api.Tools" => Some("api.Tool"),
        kind => kind
            .strip_prefix("[]")
            .or_else(|| kind.strip_prefix("map[string]")),
    }
}

fn field_type(owner: &str, field: &str) -> Option<&'static str> {
    Some(match (owner, field) {
        ("ToolCall" | "ToolDefinition", "function") => match owner {
            "ToolCall" => "api.ToolCallFunction",
            _ => "api.ToolFunction",
        },
        ("ToolCallFunction", "index") => "int",
        ("ToolCallFunction", "arguments") => "api.ToolCallFunctionArguments",
        ("ToolFunction", "parameters") => "api.ToolFunctionParameters",
        (_, "messages") => "[]api.Message",
        (_, "tools") => "api.Tools",
        (_, "tool_calls") => "[]api.ToolCall",
        (_, "images") => "[]api.ImageData",
        (_, "context") => "[]int",
        (_, "options" | "parameters" | "info") => "map[string]interface {}",
        (_, "files" | "adapters") => "map[string]string",
        (_, "dimensions" | "top_logprobs" | "num_ctx" | "slots") => "int",
        (
            _,
            "stream" | "raw" | "truncate" | "shift" | "logprobs" | "_debug_render_only"
            | "insecure" | "verbose" | "fit",
        ) => "bool",
        (
            _,
            "model" | "name" | "prompt" | "suffix" | "system" | "template" | "role" | "content"
            | "thinking" | "tool_name" | "tool_call_id" | "id" | "type" | "description" | "source"
            | "destination" | "from" | "quantize" | "renderer" | "parser" | "requires"
            | "kv_cache_type",
        ) => "string",
        _ => return None,
    })
}
