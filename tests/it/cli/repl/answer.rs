//! How answers are shown, and stopped.

use serde_json::json;

use super::{CTRL_C, PROMPT, talk, talk_with, thinking_model, with_model};

#[tokio::test]
async fn ctrl_c_stops_the_answer_and_not_the_program() {
    let (server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press("[[slow 20]][[repeat 500]]word\r").await;
    terminal.has("word word word").await;
    terminal.press(CTRL_C).await;
    terminal.ends_with(&format!("\n\n{PROMPT}")).await;
    server
        .log
        .wait_for("the end of the stopped answer", |line| {
            line.contains("POST /api/chat 200, the client left early")
                .then_some(())
        })
        .await;
    // The question has stayed in the conversation.
    terminal.line("/clear", "Cleared session context\n").await;
    terminal.line("hello", "hello\n\n").await;
    // Again: the first interruption did not use up the signal handler.
    terminal.press("[[slow 20]][[repeat 500]]more\r").await;
    terminal.has("more more more").await;
    terminal.press(CTRL_C).await;
    terminal.ends_with(&format!("\n\n{PROMPT}")).await;
    terminal.line("/clear", "Cleared session context\n").await;
    terminal.line("hello", "hello\n\n").await;
}

#[tokio::test]
async fn what_is_typed_during_an_answer_is_the_next_question() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press("[[slow 20]][[repeat 50]]word\r").await;
    terminal.has("word word word").await;
    terminal.press("hello\r").await;
    // It is sent, and did not appear within the answer.
    let words = ["word"; 50].join(" ");
    terminal
        .ends_with(&format!("\n\n>>> hello\nhello\n\n{PROMPT}"))
        .await;
    let screen = terminal.screen();
    let shown = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(&format!("{words} >>> hello")), "{screen}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_on_a_line_of_its_own() {
    let (_server, drover) = with_model().await;
    let mut terminal = drover.at_terminal(&["run", "tiny"], (40, 300));
    terminal.shows(PROMPT).await;
    terminal.line("hello", "hello\n\n").await;
    terminal.press("[[abort 3]][[repeat 9]]word\r").await;
    terminal.has("\nerror: ").await;
    terminal.has(": the fake aborts as asked\n").await;
    terminal.ends_with(PROMPT).await;
    // The model is loaded again, and the conversation is still there.
    terminal.line("again", "again\n\n").await;
}

#[tokio::test]
async fn ctrl_c_stops_an_answer_that_has_not_begun() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press("[[hang 0]]x\r").await;
    // The spinner turns before the first output.
    terminal.has("⠹").await;
    terminal.press(CTRL_C).await;
    terminal.ends_with(&format!("\n\n{PROMPT}")).await;
    terminal.press("/bye\r").await;
    assert_eq!(terminal.exit_code().await, Some(0));
}

#[tokio::test]
async fn words_go_to_the_next_line_before_the_edge() {
    let (_server, drover) = with_model().await;
    let mut terminal = drover.at_terminal(&["run", "tiny"], (24, 30));
    let prompt = ">>> Send a message (/? for hel\np)";
    terminal.shows(prompt).await;
    terminal
        .press("[[say the quick brown fox jumps over the lazy dog]]\r")
        .await;
    terminal
        .ends_with(&format!(
            "the quick brown fox jumps\nover the lazy dog\n\n{prompt}"
        ))
        .await;
    terminal.press("/set nowordwrap\r").await;
    terminal.has("Set 'nowordwrap' mode.").await;
    terminal
        .press("[[say the quick brown fox jumps over]]\r")
        .await;
    terminal
        .ends_with(&format!("the quick brown fox jumps over\n\n{prompt}"))
        .await;
}

#[tokio::test]
async fn wide_characters_are_never_cut() {
    let (_server, drover) = with_model().await;
    let mut terminal = drover.at_terminal(&["run", "tiny"], (24, 40));
    terminal.shows(PROMPT).await;
    // 35 columns can be used: 17 of these characters, and the last column stays empty.
    let text = "日本語の文章は空白なしで続いて行末で折り返される";
    terminal.press(&format!("{text}\r")).await;
    let (first, second): (String, String) = (
        text.chars().take(17).collect(),
        text.chars().skip(17).collect(),
    );
    terminal
        .ends_with(&format!("{first}\n{second}\n\n{PROMPT}"))
        .await;
}

#[tokio::test]
async fn an_answer_follows_the_width_that_the_terminal_has_by_now() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press("[[slow 5]][[repeat 40]]word\r").await;
    terminal.has("word word word").await;
    terminal.resize(40, 40);
    // Wherever the size changed, the end was wrapped for the new width.
    terminal.ends_with(PROMPT).await;
    let screen = terminal.screen();
    let lines: Vec<&str> = screen.lines().collect();
    let [.., last, "", PROMPT] = lines[..] else {
        panic!("no answer: {screen}")
    };
    assert!(last.len() <= 35, "{screen}");
    assert!(
        lines.contains(&"word word word word word word word"),
        "{screen}"
    );
}

#[tokio::test]
async fn thinking_is_grey_and_set_apart() {
    let (server, drover) = with_model().await;
    thinking_model(&server, "thinker").await;
    let question = "[[say <think>hm</think>yes]]";
    let mut terminal = talk_with(&drover, &["run", "thinker"]).await;
    terminal
        .line(question, "Thinking...\nhm\n...done thinking.\n\nyes\n\n")
        .await;
    let written = terminal.written();
    assert!(written.contains("\x1b[38;5;245m\x1b[1mThinking...\x1b[22m"));

    let mut terminal = talk_with(&drover, &["run", "--hidethinking", "thinker"]).await;
    terminal.line(question, "yes\n\n").await;

    let drover = drover.env("NO_COLOR", "1");
    let mut terminal = drover.at_terminal(&["run", "thinker"], (24, 80));
    terminal.shows(">>>").await;
    terminal.press(&format!("{question}\r")).await;
    terminal.ends_with("...done thinking.\n\nyes\n\n>>>").await;
    assert!(!terminal.written().contains("\x1b[38;5;245m"));
}

#[tokio::test]
async fn a_conversation_that_was_cut_is_told_once() {
    const CUT: &str = "note: the conversation is longer than the context, its oldest part was left out \
        (a larger num_ctx keeps more)\n";
    let (server, drover) = with_model().await;
    let small = json!({"model": "small", "from": "tiny", "parameters": {"num_ctx": 160, "num_predict": 3},
        "stream": false});
    server.post("/api/create", &small).await.ok();
    let mut terminal = drover.at_terminal(&["run", "small"], (40, 200));
    terminal.shows(PROMPT).await;
    // One question fits, two do not.
    let question = "a b c d ".repeat(12);
    let (question, answer) = (question.trim(), "a b\n\n");
    terminal.line(question, answer).await;
    terminal.line(question, &format!("{answer}{CUT}")).await;
    terminal.line(question, answer).await;
}
