//! The other commands of a conversation.

use serde_json::json;

use super::{CTRL_D, PROMPT, talk, talk_with, with_model};
use crate::support::models;

const HELP: &str = "\
Available Commands:
  /set            Set session variables
  /show           Show model information
  /load <model>   Load a session or model
  /save <model>   Save your current session
  /clear          Clear session context
  /bye            Exit
  /?, /help       Help for a command
  /? shortcuts    Help for keyboard shortcuts

Use \"\"\" to begin a multi-line message.

";

const SHOW_HELP: &str = "\
Available Commands:
  /show info         Show details for this model
  /show license      Show model license
  /show modelfile    Show Modelfile for this model
  /show parameters   Show parameters for this model
  /show system       Show system message
  /show template     Show prompt template

";

const SHORTCUTS: &str = "\
Available keyboard shortcuts:
  Ctrl + a            Move to the beginning of the line (Home)
  Ctrl + e            Move to the end of the line (End)
   Alt + b            Move back (left) one word
   Alt + f            Move forward (right) one word
  Ctrl + k            Delete the sentence after the cursor
  Ctrl + u            Delete the sentence before the cursor
  Ctrl + w            Delete the word before the cursor
  Ctrl + j            Insert a new line
  Ctrl + g            Open the prompt in an editor

  Ctrl + l            Clear the screen
  Ctrl + c            Stop the model from responding
  Ctrl + d            Exit (/bye)

";

#[tokio::test]
async fn help_has_four_topics() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    for (line, said) in [
        ("/?", HELP),
        ("/help", HELP),
        ("/show", SHOW_HELP),
        ("/? show", SHOW_HELP),
        ("/help /show", SHOW_HELP),
        ("/? shortcuts", SHORTCUTS),
        ("/frob x", "Unknown command '/frob'. Type /? for help\n"),
    ] {
        terminal.line(line, said).await;
    }
}

#[tokio::test]
async fn every_form_of_show() {
    let (server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    for (line, said) in [
        (
            "/show info",
            "  Model
    architecture        drover-fake
    parameters          288
    context length      4096
    embedding length    32
    quantization        Q8_0

  Capabilities
    completion

  Parameters
    stop    \"<|im_start|>\"
    stop    \"<|im_end|>\"

",
        ),
        (
            "/show license",
            "No license was specified for this model.\n",
        ),
        (
            "/show system",
            "No system message was specified for this model.\n",
        ),
        (
            "/show template",
            "{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant

",
        ),
        (
            "/show parameters",
            "Model defined parameters:
  stop                           \"<|im_start|>\"
  stop                           \"<|im_end|>\"

",
        ),
        (
            "/show frob",
            "Unknown command '/show frob'. Type /? for help\n",
        ),
        (
            "/set parameter temperature 0.5",
            "Set parameter 'temperature' to '0.5'\n",
        ),
        (
            "/set parameter stop a b",
            "Set parameter 'stop' to 'a, b'\n",
        ),
        (
            "/show parameters",
            "Model defined parameters:
  stop                           \"<|im_start|>\"
  stop                           \"<|im_end|>\"

User defined parameters:
  temperature                    0.5
  stop                           [a b]

",
        ),
        ("/set system be brief", "Set system message.\n"),
    ] {
        terminal.line(line, said).await;
    }
    // It includes the session's changes.
    terminal.press("/show modelfile\r").await;
    terminal.has("\nSYSTEM be brief\n").await;
    terminal.has("\nPARAMETER temperature 0.5\n").await;
    terminal.ends_with(PROMPT).await;

    let full = json!({"license": "Free for all.", "system": "Be kind."});
    server
        .create("full", models::fake().build(), full)
        .await
        .ok();
    let mut terminal = talk_with(&drover, &["run", "full"]).await;
    terminal.line("/show license", "Free for all.\n").await;
    terminal.line("/show system", "Be kind.\n\n").await;
    terminal
        .line("/set system Be brief.", "Set system message.\n")
        .await;
    terminal.line("/show system", "Be brief.\n\n").await;
}

#[tokio::test]
async fn a_session_is_saved_and_loaded() {
    let (server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    for (line, said) in [
        ("/save", "Usage:\n  /save <modelname>\n"),
        ("/save a b", "Usage:\n  /save <modelname>\n"),
        ("/save a b c", "Usage:\n  /save <modelname>\n"),
        ("/save a::b", "error: The model name 'a::b' is invalid\n"),
        ("/set system Be brief.", "Set system message.\n"),
        (
            "/set parameter temperature 0.5",
            "Set parameter 'temperature' to '0.5'\n",
        ),
        ("hello", "hello\n\n"),
    ] {
        terminal.line(line, said).await;
    }
    terminal.press("/save mine\r").await;
    terminal
        .ends_with(&format!("Created new model 'mine'\n{PROMPT}"))
        .await;
    let shown = server.post("/api/show", &json!({"model": "mine"})).await;
    let shown = shown.ok().json();
    assert_eq!(shown["system"], "Be brief.");
    assert!(
        shown["parameters"]
            .as_str()
            .unwrap()
            .contains("temperature")
    );
    let contents = shown["messages"].as_array().unwrap().iter();
    let contents: Vec<_> = contents.map(|message| &message["content"]).collect();
    assert_eq!(contents, ["Be brief.", "hello", "hello"]);

    for (line, said) in [
        ("/load", "Usage:\n  /load <modelname>\n"),
        ("/load a b", "Usage:\n  /load <modelname>\n"),
        (
            "/load none",
            "Loading model 'none'\nCouldn't find model 'none'\n",
        ),
        // The old model is still in use.
        ("still here", "still here\n\n"),
        ("/load mine", "Loading model 'mine'\n"),
        ("/show system", "Be brief.\n\n"),
        ("hello again", "hello again\n\n"),
    ] {
        terminal.line(line, said).await;
    }

    // Earlier messages are shown at the start.
    let mut terminal = drover.at_terminal(&["run", "mine"], (24, 80));
    terminal
        .shows(&format!(">>> hello\nhello\n\n{PROMPT}"))
        .await;
}

#[tokio::test]
async fn models_are_listed() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press("/list\r").await;
    terminal
        .has(">>> /list\nNAME           ID              SIZE ")
        .await;
    terminal.has("\ntiny:latest    ").await;
    terminal.ends_with(PROMPT).await;
}

#[tokio::test]
async fn leaving_has_several_ways() {
    let (_server, drover) = with_model().await;
    for (keys, shown) in [
        ("/bye\r", ">>> /bye"),
        ("/exit\r", ">>> /exit"),
        ("/byebye\r", ">>> /byebye"),
        (CTRL_D, ">>>"),
    ] {
        let mut terminal = talk(&drover).await;
        terminal.press(keys).await;
        assert_eq!(terminal.exit_code().await, Some(0), "{keys:?}");
        // The shell's prompt is on a new line, directly below.
        assert_eq!(terminal.screen(), shown);
        assert_eq!(terminal.cursor(), (1, 0), "{keys:?}");
    }
}

#[tokio::test]
async fn a_server_that_went_away_ends_the_conversation() {
    let (server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    drop(server);
    terminal.press("/show info\r").await;
    assert_eq!(terminal.exit_code().await, Some(1));
    let screen = terminal.screen();
    assert!(
        screen.starts_with(
            ">>> /show info\nerror: couldn't connect to the daemon\nError: no daemon answers"
        ),
        "{screen}"
    );
}
