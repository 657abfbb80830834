//! A real registry, Debian's `docker-registry`.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::check_store;
#[cfg(feature = "llama")]
use crate::support::real::shared;
use crate::support::{Drover, Log, TestServer, models, skip, variable};

/// A registry that stops when this value is dropped.
pub(super) struct Registry {
    child: Child,
    pub(super) address: String,
    _folder: TempDir,
}

impl Registry {
    /// `None` if it is not installed.
    pub(super) async fn start() -> Option<Self> {
        Self::with("").await
    }

    /// Starts it with more settings, in YAML.
    pub(super) async fn with(settings: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("config.yml");
        let root = folder.path().join("data");
        fs_err::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, \
                 delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{settings}\n",
                root.display()
            ),
        )
        .unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            skip("no docker-registry");
            return None;
        };
        let log = Log::new();
        log.follow(child.stdout.take().unwrap());
        log.follow(child.stderr.take().unwrap());
        let address = |line: &str| {
            let (_, address) = line.split_once("listening on ")?;
            let digits = address.trim_start_matches("127.0.0.1:");
            let end = digits.find(|sign: char| !sign.is_ascii_digit());
            Some(format!(
                "127.0.0.1:{}",
                &digits[..end.unwrap_or(digits.len())]
            ))
        };
        let address = log.wait_for("the registry's address", address).await;
        Some(Self {
            child,
            address,
            _folder: folder,
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) async fn transfer(server: &TestServer, path: &str, name: &str) -> Vec<Value> {
    let body = json!({"model": name, "insecure": true});
    let steps = server.post(path, &body).await.ok().lines();
    assert_eq!(steps.last().unwrap()["status"], "success", "{steps:?}");
    steps
}

/// The manifest's bytes.
fn manifest(server: &TestServer, name: &str) -> Vec<u8> {
    let path = server
        .store()
        .join("manifests")
        .join(name.replace(":v1", "/v1"));
    fs_err::read(path).unwrap()
}

#[tokio::test]
async fn a_model_goes_to_the_registry_and_comes_back_the_same() {
    let Some(registry) = Registry::start().await else {
        return;
    };
    let name = format!("{}/me/m:v1", registry.address);
    let server = TestServer::start().await;
    let fields = json!({"system": "Be brief.", "parameters": {"temperature": 0.5}});
    server
        .create(&name, models::fake().build(), fields)
        .await
        .ok();
    let before = manifest(&server, &name);
    let steps = transfer(&server, "/api/push", &name).await;
    assert!(
        steps
            .iter()
            .any(|step| step["status"] == "pushing manifest"),
        "{steps:?}"
    );
    let delete = server.http.delete(format!("{}/api/delete", server.url));
    let deleted = delete.json(&json!({"model": name})).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    assert_eq!(
        fs_err::read_dir(server.store().join("blobs"))
            .unwrap()
            .count(),
        0
    );
    transfer(&server, "/api/pull", &name).await;
    assert_eq!(manifest(&server, &name), before);
    check_store(&server.store());
    // The second time there is nothing to send.
    transfer(&server, "/api/push", &name).await;
}

/// A file with an encoder among its weights, which llama.cpp gets in another form, is pushed unchanged.
#[cfg(feature = "llama")]
#[tokio::test]
async fn a_file_in_ollamas_layout_comes_back_to_the_byte_and_answers() {
    for file in [
        "gemma3-ollama",
        "qwen25vl-ollama",
        "gptoss-first-generation-ollama",
    ] {
        let Some(path) = shared(&format!("{file}.gguf")) else {
            return;
        };
        let Some(registry) = Registry::start().await else {
            return;
        };
        let weights = fs_err::read(path).unwrap();
        let name = format!("{}/me/m:v1", registry.address);
        let first = TestServer::start().await;
        let fields = json!({"system": "Be brief."});
        first.create(&name, weights.clone(), fields).await.ok();
        transfer(&first, "/api/push", &name).await;
        let body = json!({"model": name, "prompt": "a b", "raw": true, "stream": false,
            "options": {"temperature": 0, "num_predict": 4, "num_ctx": 256}, "logprobs": true});
        let said = first.post("/api/generate", &body).await.ok().json();

        let second = TestServer::start().await;
        transfer(&second, "/api/pull", &name).await;
        assert_eq!(manifest(&second, &name), manifest(&first, &name), "{file}");
        let blob = models::digest(&weights).replace(':', "-");
        let blob = fs_err::read(second.store().join("blobs").join(blob)).unwrap();
        assert!(blob == weights, "{file}");
        check_store(&second.store());
        drop(first);
        let answer = second.post("/api/generate", &body).await.ok().json();
        assert_eq!(answer["logprobs"], said["logprobs"], "{file}");
        assert!(answer["logprobs"].is_array(), "{answer}");
    }
}

#[tokio::test]
async fn a_second_daemon_pulls_what_the_first_pushed() {
    let Some(registry) = Registry::start().await else {
        return;
    };
    let name = format!("{}/me/m:v1", registry.address);
    let first = TestServer::start().await;
    let fields = json!({"system": "Be brief.", "parameters": {"temperature": 0.5}});
    let created = first.create(&name, models::fake().build(), fields);
    created.await.ok();
    let pushed = Drover::of(&first).run(&["push", "--insecure", &name]).await;
    assert_eq!(
        pushed.ok(),
        format!("\nYou can find your model at:\n\n\t{name}\n")
    );

    let second = TestServer::start().await;
    let drover = Drover::of(&second);
    assert_eq!(drover.run(&["pull", "--insecure", &name]).await.ok(), "");
    assert_eq!(manifest(&second, &name), manifest(&first, &name));
    check_store(&second.store());
    // The first registry is no longer needed.
    drop(first);
    let answer = drover.run(&["run", &name, "hello"]).await.ok();
    assert_eq!(answer, "hello\n\n");
    let system = drover.run(&["show", &name, "--system"]).await.ok();
    assert_eq!(system, "Be brief.");
}

#[tokio::test]
async fn what_a_registry_does_not_have_is_told() {
    let Some(registry) = Registry::start().await else {
        return;
    };
    let server = TestServer::start().await;
    let name = format!("{}/me/nobody", registry.address);
    let body = json!({"model": name, "insecure": true, "stream": false});
    let refused = server.post("/api/pull", &body).await;
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (500, "pull model manifest: file does not exist")
    );
    let drover = Drover::of(&server);
    let output = drover.run(&["pull", "--insecure", &name]).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output
            .stderr
            .contains("pull model manifest: file does not exist"),
        "{output:?}"
    );
}

#[tokio::test]
async fn the_official_client_pushes_and_pulls() {
    let Some(registry) = Registry::start().await else {
        return;
    };
    let Some(python) = variable("DROVER_PYTHON") else {
        return skip("no DROVER_PYTHON with the clients");
    };
    let server = TestServer::start().await;
    let name = format!("{}/me/m", registry.address);
    server
        .create(&name, models::fake().build(), json!({}))
        .await
        .ok();
    let script = "import sys, ollama\n\
        client = ollama.Client(host=sys.argv[1]); name = sys.argv[2]\n\
        steps = [step.status for step in client.push(name, insecure=True, stream=True)]\n\
        assert steps[-1] == 'success' and 'pushing manifest' in steps, steps\n\
        client.delete(name)\n\
        assert client.pull(name, insecure=True).status == 'success'\n\
        assert [model.model for model in client.list().models] == [name + ':latest']\n\
        try:\n    client.pull(name + '2', insecure=True)\n\
        except ollama.ResponseError as error:\n    assert 'does not exist' in str(error)\n\
        else:\n    raise AssertionError('no error')\n";
    let mut command = tokio::process::Command::new(python);
    let output = command
        .args(["-c", script, &server.url, &name])
        .output()
        .await
        .unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    check_store(&server.store());
}
