//! `create`: mistakes in Modelfiles, rebuilding the output of `show --modelfile`, adapters, parts.

use drover::model::gguf::builder::GgufBuilder;
use drover::model::gguf::splitter::{fill, split};
use serde_json::{Value, json};

use crate::support::{Drover, TestServer, models};

#[tokio::test]
async fn mistakes_are_told_with_their_line() {
    let server = TestServer::start().await;
    let drover = Drover::of(&server);
    for (modelfile, error) in [
        ("FROM x\n\nFRON y", "(line 3): command must be one of"),
        ("FROM x\nMESSAGE tool hi", "(line 2): message role must be"),
        ("FROM x\n# c\nSYSTEM \"open\nx", "(line 3): unexpected EOF"),
        ("FROM x\nPARAMETER a-b 1", "(line 2): unexpected EOF: a"),
        ("FROM x\nPARAMETER a 1", "(line 2): unknown parameter 'a'"),
        (
            "FROM x\nPARAMETER num_ctx many",
            "(line 2): invalid int value [many]",
        ),
        ("FROM x\n\n\nADAPTER ./none.gguf", "(line 4): stat "),
        ("FROM x\nREQUIRES new", "(line 2): requires must be"),
        ("SYSTEM x", "no FROM line"),
    ] {
        fs_err::write(drover.folder().join("Modelfile"), modelfile).unwrap();
        let said = drover.run(&["create", "m"]).await.failed();
        assert!(said.starts_with(&format!("Error: {error}")), "{said}");
    }
    // A FROM that can only be a file.
    for (from, missing) in [
        ("./none.gguf", "./none.gguf"),
        ("none.gguf", "./none.gguf"),
        ("/none/at/all", "/none/at/all"),
        ("~/none.gguf", "/none.gguf"),
    ] {
        fs_err::write(drover.folder().join("Modelfile"), format!("\nFROM {from}")).unwrap();
        let said = drover.run(&["create", "m"]).await.failed();
        let expected = format!("Error: (line 2): no file {from}: ");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains(&format!("{missing} is not there")), "{said}");
    }
    // Without a Modelfile there is no line number.
    fs_err::remove_file(drover.folder().join("Modelfile")).unwrap();
    let said = drover.run(&["create", "m"]).await.failed();
    assert_eq!(said, "Error: no Modelfile or safetensors files found\n");
}

#[tokio::test]
async fn a_modelfile_is_read_from_everywhere_and_need_not_be() {
    let server = TestServer::start().await;
    let drover = Drover::of(&server);
    fs_err::write(drover.folder().join("tiny.gguf"), models::fake().build()).unwrap();
    let modelfile = "FROM ./tiny.gguf\nSYSTEM told\n";
    // A pipe has no folder: paths are relative to the working folder of the command.
    for file in ["-", "/dev/stdin", "/dev/fd/0"] {
        let create = ["create", "m", "-f", file];
        drover.run_with(&create, modelfile).await.ok();
        let system = drover.run(&["show", "--system", "m"]).await.ok();
        assert_eq!(system.trim(), "told", "{file}");
        drover.run(&["rm", "m"]).await.ok();
    }
    let script = "drover create m -f <(echo FROM ./tiny.gguf)";
    let output = drover.shell("bash", script).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    // Without a Modelfile the folder is the model.
    for create in [vec!["create", "folder"], vec!["create", "folder", "-f", ""]] {
        let output = drover.run(&create).await;
        assert!(output.stderr.ends_with("success\n"), "{output:?}");
        output.ok();
    }
    let said = drover.run(&["create", "m", "-f", "none"]).await.failed();
    assert_eq!(said, "Error: specified Modelfile wasn't found\n");
}

#[tokio::test]
async fn what_show_prints_makes_the_same_model() {
    let server = TestServer::start().await;
    let drover = Drover::of(&server);
    let folder = drover.folder();
    fs_err::write(folder.join("tiny.gguf"), models::fake().build()).unwrap();
    fs_err::write(folder.join("lora.gguf"), lora()).unwrap();
    let draft = models::fake().value("drover-fake.answer", "yes");
    fs_err::write(folder.join("draft.gguf"), draft.build()).unwrap();
    let modelfile = "FROM ./tiny.gguf\nADAPTER ./lora.gguf\nDRAFT ./draft.gguf\n\
        TEMPLATE \"\"\"{{ .System }} \"quoted\"\n{{ .Prompt }}\"\"\"\n\
        SYSTEM \"\"\" Be brief.\nAnd \"kind\". \"\"\"\n\
        PARAMETER num_ctx 1048576\nPARAMETER temperature 0.7\nPARAMETER stop \" a\"\n\
        PARAMETER stop <|b|>\nLICENSE \"\"\"One.\nLine.\"\"\"\nLICENSE Two.\n\
        MESSAGE user hi\nMESSAGE assistant \"hel\nlo\"\n";
    fs_err::write(folder.join("Modelfile"), modelfile).unwrap();
    drover.run(&["create", "first"]).await.ok();
    let printed = drover.run(&["show", "--modelfile", "first"]).await.ok();
    fs_err::write(folder.join("Printed"), &printed).unwrap();
    drover
        .run(&["create", "second", "-f", "Printed"])
        .await
        .ok();

    let layers = |name: &str| -> Vec<Value> {
        let path = "manifests/registry.ollama.ai/library";
        let path = server.store().join(path).join(name).join("latest");
        let manifest: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let mut layers: Vec<Value> = layers
            .map(|layer| json!([layer["mediaType"], layer["digest"], layer["size"]]))
            .collect();
        layers.sort_by_key(Value::to_string);
        layers
    };
    assert_eq!(layers("first"), layers("second"), "{printed}");
    assert_eq!(layers("first").len(), 9, "{printed}");
    let again = drover.run(&["show", "--modelfile", "second"]).await.ok();
    assert_eq!(again, printed.replace("first:latest", "second:latest"));
}

/// A LoRA adapter that changes nothing; only its header matters here.
fn lora() -> Vec<u8> {
    GgufBuilder::new("drover-fake")
        .value("general.type", "adapter")
        .value("adapter.type", "lora")
        .build()
}

#[tokio::test]
async fn adapters_are_kept_beside_the_weights_and_checked() {
    let server = TestServer::start().await;
    server.fake_model("base").await;
    let drover = Drover::of(&server);
    let folder = drover.folder();
    fs_err::write(folder.join("lora.gguf"), lora()).unwrap();
    fs_err::write(folder.join("model.gguf"), models::fake().build()).unwrap();
    fs_err::write(folder.join("Modelfile"), "FROM base\nADAPTER lora.gguf").unwrap();
    drover.run(&["create", "tuned"]).await.ok();
    let printed = drover.run(&["show", "--modelfile", "tuned"]).await.ok();
    let hex = models::digest(&lora()).replace(':', "-");
    assert!(
        printed
            .lines()
            .any(|line| line.starts_with("ADAPTER ") && line.ends_with(&hex)),
        "{printed}"
    );

    fs_err::write(folder.join("Modelfile"), "FROM base\nADAPTER model.gguf").unwrap();
    let output = drover.run(&["create", "wrong"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output.stderr.contains("model.gguf: not a LoRA adapter"),
        "{output:?}"
    );
    let error = drover.run(&["show", "wrong"]).await.failed();
    assert!(error.contains("not found"), "{error}");
}

#[tokio::test]
async fn the_parts_of_a_split_file_become_one_model() {
    let server = TestServer::start().await;
    let drover = Drover::of(&server);
    let folder = drover.folder().join("parts");
    fs_err::create_dir(&folder).unwrap();
    let whole = fill(models::fake().build());
    let part = |number: usize| folder.join(format!("m-0000{number}-of-00002.gguf"));
    for (index, content) in split(&whole, 2).iter().enumerate() {
        fs_err::write(part(index + 1), content).unwrap();
    }
    let hex = models::digest(&whole).replace(':', "-");
    for (name, from) in [
        ("folder", "./parts"),
        ("first", "parts/m-00001-of-00002.gguf"),
    ] {
        fs_err::write(drover.folder().join("Modelfile"), format!("FROM {from}")).unwrap();
        let output = drover.run(&["create", name]).await;
        assert!(output.stderr.contains("merging 2 parts"), "{output:?}");
        output.ok();
        let printed = drover.run(&["show", "--modelfile", name]).await.ok();
        let mut lines = printed.lines();
        assert!(
            lines.any(|line| line.starts_with("FROM ") && line.ends_with(&hex)),
            "{printed}"
        );
        let answer = drover.run(&["run", name, "hello"]).await.ok();
        assert_eq!(answer.trim(), "hello");
    }

    fs_err::remove_file(part(2)).unwrap();
    let output = drover.run(&["create", "m"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    let missing = "has 1 shards, expected 2: \"m-00002-of-00002.gguf\" is missing";
    assert!(output.stderr.contains(missing), "{output:?}");
}
