//! The overview: titled blocks in a fixed order, each only if it has content.

use serde_json::{Map, Value};

use super::number;
use crate::api::ollama::ShowResponse;
use crate::cli::ui::table::{CELL_WIDTH, TEXT_WIDTH, block};
use crate::units;

/// Lines of the system message and the license that are shown.
const HEAD_LINES: usize = 2;

type Rows = Vec<Vec<String>>;

/// Prints the overview; `verbose` adds all metadata and tensors.
pub(crate) fn text(shown: &ShowResponse, verbose: bool) -> String {
    let mut blocks = vec![
        ("Model", model(shown), CELL_WIDTH),
        ("Capabilities", capabilities(shown), CELL_WIDTH),
        ("Projector", projector(&shown.projector_info), CELL_WIDTH),
        ("Parameters", parameters(shown), CELL_WIDTH),
    ];
    if verbose {
        blocks.push(("Metadata", metadata(&shown.model_info), CELL_WIDTH));
        blocks.push(("Tensors", tensors(shown), CELL_WIDTH));
    }
    blocks.push(("System", head(&shown.system), TEXT_WIDTH));
    blocks.push(("License", head(&shown.license), TEXT_WIDTH));
    let full = blocks.into_iter().filter(|(_, rows, _)| !rows.is_empty());
    full.map(|(title, rows, width)| block(title, &rows, width))
        .collect()
}

fn model(shown: &ShowResponse) -> Rows {
    let mut rows = Rows::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    let (info, details) = (&shown.model_info, &shown.details);
    let architecture = text_of(info, "general.architecture");
    add("Remote model", Some(shown.remote_model.clone()));
    add("Remote URL", Some(shown.remote_host.clone()));
    add(
        "architecture",
        architecture.or(Some(&details.family)).map(str::to_owned),
    );
    add("parameters", parameter_size(shown));
    let key = |name: &str| info.get(&format!("{}.{name}", architecture.unwrap_or_default()));
    add(
        "context length",
        key("context_length").and_then(number::whole),
    );
    add(
        "embedding length",
        key("embedding_length").and_then(number::whole),
    );
    add("quantization", Some(details.quantization_level.clone()));
    add("requires", Some(shown.requires.clone()));
    rows
}

fn parameter_size(shown: &ShowResponse) -> Option<String> {
    if !shown.details.parameter_size.is_empty() {
        return Some(shown.details.parameter_size.clone());
    }
    count(&shown.model_info)
}

fn count(info: &Map<String, Value>) -> Option<String> {
    info.get("general.parameter_count")?
        .as_u64()
        .map(units::format_count)
}

fn capabilities(shown: &ShowResponse) -> Rows {
    shown
        .capabilities
        .iter()
        .map(|name| vec![name.clone()])
        .collect()
}

fn projector(info: &Map<String, Value>) -> Rows {
    let Some(architecture) = text_of(info, "general.architecture") else {
        return Rows::new();
    };
    let mut rows = vec![vec!["architecture".to_owned(), architecture.to_owned()]];
    if let Some(parameters) = count(info) {
        rows.push(vec!["parameters".to_owned(), parameters]);
    }
    let encoder = ["vision", "audio"]
        .into_iter()
        .find(|encoder| info.contains_key(&format!("{architecture}.{encoder}.embedding_length")));
    let Some(encoder) = encoder else { return rows };
    for (title, key) in [
        ("embedding length", "embedding_length"),
        ("dimensions", "projection_dim"),
    ] {
        let value = info.get(&format!("{architecture}.{encoder}.{key}"));
        if let Some(value) = value.and_then(number::whole) {
            rows.push(vec![title.to_owned(), value]);
        }
    }
    rows
}

fn parameters(shown: &ShowResponse) -> Rows {
    let lines = shown
        .parameters
        .lines()
        .filter(|line| !line.trim().is_empty());
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

fn metadata(info: &Map<String, Value>) -> Rows {
    let mut keys: Vec<&String> = info.keys().collect();
    keys.sort();
    keys.into_iter()
        .map(|key| vec![key.clone(), number::metadata(&info[key])])
        .collect()
}

fn tensors(shown: &ShowResponse) -> Rows {
    let shape = |shape: &[u64]| {
        let sizes: Vec<String> = shape.iter().map(u64::to_string).collect();
        format!("[{}]", sizes.join(" "))
    };
    let row = |tensor: &crate::api::ollama::Tensor| {
        vec![
            tensor.name.clone(),
            tensor.kind.clone(),
            shape(&tensor.shape),
        ]
    };
    shown.tensors.iter().map(row).collect()
}

/// The first lines that are not empty, and three dots if there are more.
fn head(text: &str) -> Rows {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut rows: Rows = lines
        .by_ref()
        .take(HEAD_LINES)
        .map(|line| vec![line.to_owned()])
        .collect();
    if lines.next().is_some() {
        rows.push(vec!["...".to_owned()]);
    }
    rows
}

fn text_of<'a>(info: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    info.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(shown: &Value, verbose: bool, expected: &str) {
        let shown: ShowResponse = serde_json::from_value(shown.clone()).unwrap();
        assert_eq!(text(&shown, verbose).replace(" \n", "·\n"), expected);
    }

    #[test]
    fn the_overview_has_blocks() {
        let shown = json!({
            "details": {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
            "model_info": {
                "general.architecture": "llama",
                "llama.context_length": 131_072,
                "llama.embedding_length": 3072,
            },
            "capabilities": ["completion", "tools"],
            "parameters": "stop                           \"<|a b|>\"\ntemperature                    0.5",
            "system": "You are a pirate!\n\nAhoy, matey!\nThird",
            "license": "MIT",
        });
        check(
            &shown,
            false,
            "  Model
    architecture        llama    ·
    parameters          3.2B     ·
    context length      131072   ·
    embedding length    3072     ·
    quantization        Q4_K_M   ·

  Capabilities
    completion   ·
    tools        ·

  Parameters
    stop           \"<|a    b|>\"   ·
    temperature    0.5            ·

  System
    You are a pirate!   ·
    Ahoy, matey!        ·
    ...                 ·

  License
    MIT   ·

",
        );
    }

    #[test]
    fn a_bare_model_has_one_block() {
        let shown = json!({"details": {"family": "test", "parameter_size": "7B", "quantization_level": "FP16"}});
        check(
            &shown,
            false,
            "  Model
    architecture    test   ·
    parameters      7B     ·
    quantization    FP16   ·

",
        );
    }

    #[test]
    fn verbose_adds_metadata_and_tensors() {
        let shown = json!({
            "details": {"parameter_size": "7B", "quantization_level": "FP16"},
            "model_info": {"general.architecture": "test", "general.parameter_count": 8_000_000_000_u64},
            "tensors": [{"name": "blk.0.attn_k.weight", "type": "BF16", "shape": [42, 3117]}],
        });
        check(
            &shown,
            true,
            "  Model
    architecture    test   ·
    parameters      7B     ·
    quantization    FP16   ·

  Metadata
    general.architecture       test    ·
    general.parameter_count    8e+09   ·

  Tensors
    blk.0.attn_k.weight    BF16    [42 3117]   ·

",
        );
    }
}
