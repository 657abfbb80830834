//! Models made of uploaded files and of other models, in a separate store.

mod made;
mod quantized;
mod refused;
mod split;

use super::*;
use crate::model::gguf::builder::GgufBuilder;

/// A store in a temporary folder, with the reported progress.
struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    statuses: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self {
            folder,
            store,
            statuses: Vec::new(),
        }
    }

    /// Uploads a file and returns its digest's text.
    fn upload(&self, content: &[u8]) -> String {
        self.store.write_layer("", content).unwrap().digest
    }

    fn files(&self, files: &[(&str, &[u8])]) -> BTreeMap<String, String> {
        files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), self.upload(content)))
            .collect()
    }

    fn create(&mut self, name: &str, request: &CreateRequest) -> Result<(), CreateError> {
        self.statuses.clear();
        let statuses = &mut self.statuses;
        create(
            &self.store,
            &parse(name),
            request,
            &requantized,
            &mut |status| {
                statuses.push(status.status);
            },
        )
    }

    fn model(&self, name: &str) -> crate::store::Model {
        self.store.model(&parse(name)).unwrap()
    }

    fn read(&self, digest: &str) -> String {
        let path = self.store.blob_path(&digest.parse().unwrap());
        fs_err::read_to_string(path).unwrap()
    }

    fn kinds(&self, name: &str) -> Vec<String> {
        let kind =
            |layer: &crate::model::Layer| layer.media_type.rsplit('.').next().unwrap().to_owned();
        self.model(name).manifest.layers.iter().map(kind).collect()
    }
}

fn parse(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn weights() -> Vec<u8> {
    GgufBuilder::model("llama").build()
}

fn projector() -> Vec<u8> {
    GgufBuilder::new("clip")
        .value("clip.has_vision_encoder", true)
        .value("clip.projector_type", "mlp")
        .build()
}

fn adapter() -> Vec<u8> {
    GgufBuilder::new("llama")
        .value("general.type", "adapter")
        .value("adapter.type", "lora")
        .build()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// A request with one model file, uploaded into the bench's store.
fn from_file(bench: &Bench) -> CreateRequest {
    CreateRequest {
        files: bench.files(&[("model.gguf", &weights())]),
        ..CreateRequest::default()
    }
}

fn from_model(name: &str) -> CreateRequest {
    CreateRequest {
        from: Some(name.to_owned()),
        ..CreateRequest::default()
    }
}

/// Replaces llama.cpp's quantizer: writes a small file of the wanted type.
fn requantized(job: quantize::Job, progress: &mut (dyn FnMut(f32) + Send)) -> Result<(), String> {
    progress(0.5);
    let file = GgufBuilder::model("llama").value("general.file_type", job.file_type);
    fs_err::write(job.target, file.build()).map_err(|error| error.to_string())
}

/// Requests that must fail: with the kind of error, and the beginning of its text.
fn check_refusals(bench: &mut Bench, cases: Vec<(CreateRequest, ErrorKind, &str)>) {
    for (request, kind, text) in cases {
        let error = bench.create("m", &request).expect_err(text);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.starts_with(text), "{error}");
    }
    assert!(
        bench.store.list().unwrap().is_empty(),
        "no manifest is left behind"
    );
    let blobs = fs_err::read_dir(bench.folder.path().join("blobs")).unwrap();
    let strangers: Vec<_> = blobs
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.parse::<Digest>().is_err())
        .collect();
    assert_eq!(strangers, Vec::<String>::new(), "no scratch files either");
}
