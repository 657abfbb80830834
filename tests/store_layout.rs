//! The model directory, file by file: a directory as Ollama leaves it can be read, and what we write is what Ollama
//! expects.
#![cfg(feature = "fake")]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use drover::create::{CreateRequest, create};
use drover::model::gguf::builder::GgufBuilder;
use drover::model::{Digest, ModelName};
use drover::store::Store;
use serde_json::json;

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

/// Puts a file where Ollama would, and returns its digest and size.
fn blob(root: &Path, content: &[u8]) -> (String, usize) {
    let digest = Digest::of(content);
    let path = root.join("blobs").join(digest.file_name());
    fs_err::create_dir_all(root.join("blobs")).unwrap();
    fs_err::write(path, content).unwrap();
    (digest.to_string(), content.len())
}

fn manifest(root: &Path, path: &str, text: &str) {
    let path = root.join("manifests").join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

/// All files below a folder: path → (permissions, size).
fn files(root: &Path) -> BTreeMap<String, (u32, u64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs_err::metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let below = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.insert(
                    below,
                    (metadata.permissions().mode() & 0o777, metadata.len()),
                );
            }
        }
    }
    found
}

#[test]
fn a_directory_of_ollamas_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let weights = GgufBuilder::model("llama").build();
    let (model, model_size) = blob(root, &weights);
    let (template, template_size) = blob(root, b"{{ .Prompt }}");
    let (system, system_size) = blob(root, b"Be kind.");
    let (params, params_size) = blob(
        root,
        b"{\"num_gqa\":8,\"stop\":[\"\\u003c|eot_id|\\u003e\"],\"temperature\":0.6}\n",
    );
    let (messages, messages_size) = blob(root, b"[{\"role\":\"user\",\"content\":\"hi\"}]\n");
    let (strange, strange_size) = blob(root, b"?");
    let config = format!(
        "{{\"model_format\":\"gguf\",\"model_family\":\"llama\",\"model_families\":[\"llama\"],\"model_type\":\"3.2B\",\
         \"file_type\":\"Q4_K_M\",\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\
         \"diff_ids\":[\"{model}\"]}}}}"
    );
    let (config, config_size) = blob(root, config.as_bytes());
    let kind = "application/vnd.ollama.image";
    let text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\
         \"config\":{{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\"{config}\",\"size\":{config_size}}},\
         \"layers\":[{{\"mediaType\":\"{kind}.model\",\"digest\":\"{model}\",\"size\":{model_size}}},\
         {{\"mediaType\":\"{kind}.template\",\"digest\":\"{template}\",\"size\":{template_size}}},\
         {{\"mediaType\":\"{kind}.system\",\"digest\":\"{system}\",\"size\":{system_size}}},\
         {{\"mediaType\":\"{kind}.params\",\"digest\":\"{params}\",\"size\":{params_size}}},\
         {{\"mediaType\":\"{kind}.messages\",\"digest\":\"{messages}\",\"size\":{messages_size}}},\
         {{\"mediaType\":\"{kind}.hologram\",\"digest\":\"{strange}\",\"size\":{strange_size}}}]}}"
    );
    manifest(root, "registry.ollama.ai/library/llama3.2/latest", &text);
    manifest(
        root,
        "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF/Q4_K_M",
        &text,
    );
    manifest(root, "localhost:5000/library/x/latest", &text);
    // A cloud stub without blobs, and files that are not models.
    let stub = "{\"schemaVersion\":2,\"config\":{\"digest\":\"\",\"size\":0},\"layers\":null}";
    manifest(root, "registry.ollama.ai/library/stub/cloud", stub);
    manifest(root, "registry.ollama.ai/library/llama3.2/.hidden", "x");
    manifest(root, "registry.ollama.ai/library/three", "x");
    manifest(root, "registry.ollama.ai/library/a/b/five", "x");
    manifest(root, "registry.ollama.ai/library/broken/latest", "{");
    let before = files(root);

    let store = Store::open(root).unwrap();
    let mut names: Vec<String> = store
        .list()
        .unwrap()
        .iter()
        .map(|model| model.name.short())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
            "llama3.2:latest",
            "localhost:5000/library/x:latest",
            "stub:cloud",
        ]
    );
    let model = store.model(&name("LLAMA3.2")).unwrap();
    assert_eq!(model.digest, Digest::of(text.as_bytes()).hex());
    let sizes = [
        model_size,
        template_size,
        system_size,
        params_size,
        messages_size,
        strange_size,
        config_size,
    ];
    assert_eq!(model.size, sizes.iter().sum::<usize>() as u64);
    assert_eq!(model.config.file_type, "Q4_K_M");
    assert_eq!(model.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(model.system.as_deref(), Some("Be kind."));
    assert_eq!(
        serde_json::Value::Object(model.params),
        json!({"num_gqa": 8, "stop": ["<|eot_id|>"], "temperature": 0.6})
    );
    assert_eq!(model.messages[0].content, "hi");
    let path = model.weights.unwrap();
    assert_eq!(store.gguf(&path).unwrap().architecture(), "llama");
    assert_eq!(files(root), before, "reading changes nothing");
}

#[test]
fn a_directory_of_ours_is_as_ollama_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let store = Store::open(root).unwrap();
    let weights = GgufBuilder::model("llama").build();
    let uploaded = store.write_layer("", &weights).unwrap().digest;
    let request = CreateRequest {
        files: BTreeMap::from([("model.gguf".to_owned(), uploaded.clone())]),
        system: "Be kind.".to_owned(),
        parameters: json!({"temperature": 1.0, "stop": ["<a>"]})
            .as_object()
            .unwrap()
            .clone(),
        ..CreateRequest::default()
    };
    let quantizer = |_: drover::create::quantize::Job, _: &mut (dyn FnMut(f32) + Send)| Ok(());
    create(
        &store,
        &name("me/mine:v1"),
        &request,
        &quantizer,
        &mut |_| (),
    )
    .unwrap();

    let config = "{\"model_format\":\"gguf\",\"model_family\":\"llama\",\"model_families\":[\"llama\"],\
                  \"model_type\":\"288\",\"file_type\":\"Q8_0\",\"architecture\":\"amd64\",\"os\":\"linux\"}\n";
    let params = "{\"stop\":[\"\\u003ca\\u003e\"],\"temperature\":1}\n";
    let texts = [config, "Be kind.", params];
    let [config, system, params] = texts.map(|text| Digest::of(text.as_bytes()));
    let kind = "application/vnd.ollama.image";
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\
         \"config\":{{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\"{config}\",\"size\":{}}},\
         \"layers\":[{{\"mediaType\":\"{kind}.model\",\"digest\":\"{uploaded}\",\"size\":{}}},\
         {{\"mediaType\":\"{kind}.system\",\"digest\":\"{system}\",\"size\":8}},\
         {{\"mediaType\":\"{kind}.params\",\"digest\":\"{params}\",\"size\":{}}}]}}\n",
        texts[0].len(),
        weights.len(),
        texts[2].len(),
    );
    let path = "manifests/registry.ollama.ai/me/mine/v1";
    assert_eq!(fs_err::read_to_string(root.join(path)).unwrap(), manifest);
    let mut expected = BTreeMap::from([(path.to_owned(), (0o644, manifest.len() as u64))]);
    let blobs = texts
        .iter()
        .map(|text| text.as_bytes())
        .chain([weights.as_slice()]);
    for content in blobs {
        let path = format!("blobs/{}", Digest::of(content).file_name());
        assert_eq!(fs_err::read(root.join(&path)).unwrap(), content);
        expected.insert(path, (0o644, content.len() as u64));
    }
    assert_eq!(files(root), expected, "nothing else is there");
}
