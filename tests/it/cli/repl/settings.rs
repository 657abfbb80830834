//! `/set`, in all its forms.

use super::{PROMPT, talk_with, thinking_model, with_model};

const SET_HELP: &str = "\
Available Commands:
  /set parameter ...     Set a parameter
  /set system <string>   Set system message
  /set history           Enable history
  /set nohistory         Disable history
  /set wordwrap          Enable wordwrap
  /set nowordwrap        Disable wordwrap
  /set format json       Enable JSON mode
  /set noformat          Disable formatting
  /set verbose           Show LLM stats
  /set quiet             Disable LLM stats
  /set think             Enable thinking
  /set nothink           Disable thinking

";

#[tokio::test]
async fn every_form_of_set_says_what_it_did() {
    let (_server, drover) = with_model().await;
    let mut terminal = super::talk(&drover).await;
    for (line, said) in [
        ("/set", SET_HELP),
        ("/? set", SET_HELP),
        ("/set system", SET_HELP),
        ("/set history", ""),
        ("/set nohistory", ""),
        ("/set wordwrap", "Set 'wordwrap' mode.\n"),
        ("/set nowordwrap", "Set 'nowordwrap' mode.\n"),
        ("/set verbose", "Set 'verbose' mode.\n"),
        ("/set quiet", "Set 'quiet' mode.\n"),
        (
            "/set format",
            "Invalid or missing format. For 'json' mode use '/set format json'\n",
        ),
        (
            "/set format yaml",
            "Invalid or missing format. For 'json' mode use '/set format json'\n",
        ),
        ("/set format json", "Set format to 'json' mode.\n"),
        ("hello", "{\"answer\":\"hello\"}\n\n"),
        ("/set noformat", "Disabled format.\n"),
        ("hello", "hello\n\n"),
        ("/set parameter seed 42", "Set parameter 'seed' to '42'\n"),
        (
            "/set parameter stop and or",
            "Set parameter 'stop' to 'and, or'\n",
        ),
        ("one and two", "one\n\n"),
        (
            "/set parameter num_ctx many",
            "Couldn't set parameter: \"invalid int value [many]\"\n",
        ),
        (
            "/set parameter x 1",
            "Couldn't set parameter: \"unknown parameter 'x'\"\n",
        ),
        ("/set system be brief", "Set system message.\n"),
        ("/show system", "be brief\n\n"),
        (
            "/set frob",
            "Unknown command '/set frob'. Type /? for help\n",
        ),
    ] {
        terminal.line(line, said).await;
    }
    terminal.line("/set parameter seed", PARAMETERS).await;
}

const PARAMETERS: &str = "\
Available Parameters:
  /set parameter seed <int>             Random number seed
  /set parameter num_predict <int>      Max number of tokens to predict
  /set parameter top_k <int>            Pick from top k num of tokens
  /set parameter top_p <float>          Pick token based on sum of probabilities
  /set parameter min_p <float>          Pick token based on top token probabilit
y * min_p
  /set parameter num_ctx <int>          Set the context size
  /set parameter temperature <float>    Set creativity level
  /set parameter repeat_penalty <float> How strongly to penalize repetitions
  /set parameter repeat_last_n <int>    Set how far back to look for repetitions
  /set parameter num_gpu <int>          The number of layers to send to the GPU
  /set parameter stop <string> <string> ...   Set the stop parameters

";

#[tokio::test]
async fn a_system_message_may_have_several_lines() {
    let (_server, drover) = with_model().await;
    let mut terminal = super::talk(&drover).await;
    terminal.press("/set system \"\"\"be\r").await;
    terminal
        .shows(">>> /set system \"\"\"be\n... Press Enter to send")
        .await;
    terminal.press("brief\"\"\"\r").await;
    terminal
        .shows(&format!(
            ">>> /set system \"\"\"be\n... brief\"\"\"\nSet system message.\n{PROMPT}"
        ))
        .await;
    terminal.line("/show system", "be\nbrief\n\n").await;
    // Clearing the conversation keeps the system message.
    terminal.line("/clear", "Cleared session context\n").await;
    terminal.line("/show system", "be\nbrief\n\n").await;
}

#[tokio::test]
async fn verbose_answers_are_followed_by_their_statistics() {
    let (_server, drover) = with_model().await;
    let mut terminal = super::talk(&drover).await;
    terminal.line("/set verbose", "Set 'verbose' mode.\n").await;
    terminal.press("hello\r").await;
    terminal.ends_with(PROMPT).await;
    terminal.has("\neval rate:  ").await;
    let screen = terminal.screen();
    let (_, statistics) = screen.split_once("hello\n\n").expect("an answer");
    let labels: Vec<&str> = statistics
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    let expected = [
        "total duration",
        "load duration",
        "prompt eval count",
        "prompt eval duration",
        "prompt eval rate",
        "eval count",
        "eval duration",
        "eval rate",
    ];
    // Counters that are zero are left out; the order stays.
    let known: Vec<&str> = expected
        .into_iter()
        .filter(|label| labels.contains(label))
        .collect();
    assert_eq!(labels, known, "{screen}");
    terminal.line("/set quiet", "Set 'quiet' mode.\n").await;
    terminal.line("hello", "hello\n\n").await;
}

#[tokio::test]
async fn thinking_is_switched() {
    let (server, drover) = with_model().await;
    thinking_model(&server, "thinker").await;
    let mut terminal = talk_with(&drover, &["run", "thinker"]).await;
    let question = "[[say <think>hm</think>yes]]";
    let thought = "Thinking...\nhm\n...done thinking.\n\nyes\n\n";
    terminal.line(question, thought).await;
    terminal.line("/set nothink", "Set 'nothink' mode.\n").await;
    terminal.line("hello", "hello\n\n").await;
    terminal.line("/set think", "Set 'think' mode.\n").await;
    terminal.line(question, thought).await;
    terminal
        .line("/set think high", "Set 'think' mode to 'high'.\n")
        .await;
    // A setting that the server refuses is reported, and the conversation goes on.
    terminal
        .line("/set think hard", "Set 'think' mode to 'hard'.\n")
        .await;
    terminal.press("hello\r").await;
    terminal.has("error: 400 Bad Request: ").await;
    terminal.ends_with(PROMPT).await;
    terminal.line("/set nothink", "Set 'nothink' mode.\n").await;
    terminal.line("hello", "hello\n\n").await;
}

#[tokio::test]
async fn a_model_that_cannot_think_is_warned_about() {
    let (_server, drover) = with_model().await;
    let mut terminal = super::talk(&drover).await;
    let warning = "warning: model \"tiny\" does not support thinking output\n";
    terminal
        .line("/set think", &format!("{warning}Set 'think' mode.\n"))
        .await;
    let error = "error: 400 Bad Request: \"tiny\" does not support thinking\n";
    terminal.line("hello", error).await;
    terminal
        .line("/set nothink", &format!("{warning}Set 'nothink' mode.\n"))
        .await;
    terminal.line("hello", "hello\n\n").await;
}
