//! Keys: editing, history, leaving, entries of several lines.

use std::os::unix::fs::PermissionsExt as _;

use super::{CLEAR, CTRL_C, CTRL_D, PROMPT, talk, with_model};

const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const LEFT: &str = "\x1b[D";
const RIGHT: &str = "\x1b[C";

#[tokio::test]
async fn a_line_is_edited() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    for (keys, line) in [
        ("bc\x01a", "abc"),                                     // Ctrl-A
        ("bc\x1b[Ha\x1b[Fd", "abcd"),                           // Home, End
        ("ac\x02b\x06d\x05e", "abcde"),                         // Ctrl-B, Ctrl-F, Ctrl-E
        (&format!("ac{LEFT}b{RIGHT}d"), "abcd"),                //
        ("one three\x1bbtwo \x1bf four", "one two three four"), // Alt-B, Alt-F
        ("abx\x7fc\x08c", "abc"),                               // Backspace, Ctrl-H
        ("axb\x02\x02\x04", "ab"),                              // Ctrl-D deletes to the right
        ("axb\x02\x02\x1b[3~", "ab"),                           // Delete
        ("one two\x01\x1bf\x0b", "one"),                        // Ctrl-K
        ("one two\x1bb\x15", "two"),                            // Ctrl-U
        ("one two\x17three", "one three"),                      // Ctrl-W
        ("one two\x1b\x7fthree", "one three"),                  // Alt-Backspace
        ("a\tb", "a        b"),                                 // Tab
        ("日本\x02\x7f語", "語本"),
    ] {
        terminal.press(CLEAR).await;
        terminal.shows(PROMPT).await;
        terminal.press(keys).await;
        terminal.shows(&format!(">>> {line}")).await;
        terminal.press("\x05\x15").await;
        terminal.shows(PROMPT).await;
    }
}

#[tokio::test]
async fn ctrl_c_drops_the_line_and_tells_how_to_leave() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press(&format!("abc{CTRL_C}")).await;
    let hint = "Use Ctrl + d or /bye to exit.";
    terminal.shows(&format!(">>> abc\n{hint}\n{PROMPT}")).await;
    // Also from a text of several lines.
    terminal.press(&format!("{CLEAR}\"\"\"abc\r")).await;
    terminal
        .shows(">>> \"\"\"abc\n... Press Enter to send")
        .await;
    terminal.press(&format!("def{CTRL_C}")).await;
    terminal
        .shows(&format!(">>> \"\"\"abc\n... def\n{hint}\n{PROMPT}"))
        .await;
    terminal.line("hello", "hello\n\n").await;
}

#[tokio::test]
async fn quotes_hold_several_lines() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press("\"\"\"one\r").await;
    terminal
        .shows(">>> \"\"\"one\n... Press Enter to send")
        .await;
    // A command is text here.
    terminal.press("/bye\r").await;
    terminal
        .shows(">>> \"\"\"one\n... /bye\n... Press Enter to send")
        .await;
    terminal.press("three\"\"\"\r").await;
    let typed = ">>> \"\"\"one\n... /bye\n... three\"\"\"\n";
    terminal
        .shows(&format!("{typed}one\n/bye\nthree\n\n{PROMPT}"))
        .await;
    terminal.line("\"\"\"at once\"\"\"", "at once\n\n").await;
}

#[tokio::test]
async fn ctrl_j_and_pasting_give_several_lines() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press("one\ntwo").await;
    terminal.shows(">>> one\ntwo").await;
    terminal.press("\r").await;
    terminal
        .shows(&format!(">>> one\ntwo\none\ntwo\n\n{PROMPT}"))
        .await;
    terminal.press(CLEAR).await;
    terminal.shows(PROMPT).await;
    // Pasted text is not sent before Enter.
    terminal.press("\x1b[200~three\rfour\x1b[201~").await;
    terminal.shows(">>> three\nfour").await;
    terminal.press("\r").await;
    terminal
        .shows(&format!(">>> three\nfour\nthree\nfour\n\n{PROMPT}"))
        .await;
}

#[tokio::test]
async fn backspace_on_an_empty_line_goes_back_to_the_line_before() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    let placeholder = "... Press Enter to send";
    // Wider than the screen: it takes two rows.
    let wide = "two ".repeat(25);
    let (row, rest) = wide.trim_end().split_at(76);
    for (keys, shown) in [
        ("\"\"\"one\r", format!(">>> \"\"\"one\n{placeholder}")),
        (
            &format!("{wide}\r"),
            format!(
                ">>> \"\"\"one\n... {}\n{rest}\n{placeholder}",
                row.trim_end()
            ),
        ),
        (
            "\x7f",
            format!(">>> \"\"\"one\n... {}\n{rest}", row.trim_end()),
        ),
        // Ctrl-U, Ctrl-H
        ("\x15", format!(">>> \"\"\"one\n{placeholder}")),
        ("\x08", ">>> \"\"\"one".to_owned()),
        ("!\r", format!(">>> \"\"\"one!\n{placeholder}")),
        (
            "three\"\"\"\r",
            format!(">>> \"\"\"one!\n... three\"\"\"\none!\nthree\n\n{PROMPT}"),
        ),
    ] {
        terminal.press(keys).await;
        terminal.shows(&shown).await;
    }

    // On the first line there is no previous one; a system message behaves the same way.
    for (keys, shown) in [
        (CLEAR, PROMPT.to_owned()),
        ("\x7f", PROMPT.to_owned()),
        (
            "/set system \"\"\"be\r",
            format!(">>> /set system \"\"\"be\n{placeholder}"),
        ),
        ("\x7f", ">>> /set system \"\"\"be".to_owned()),
        (
            " brief\"\"\"\r",
            format!(">>> /set system \"\"\"be brief\"\"\"\nSet system message.\n{PROMPT}"),
        ),
        // Lines of one entry.
        (CLEAR, PROMPT.to_owned()),
        ("one\n", ">>> one".to_owned()),
        ("\x7f!", ">>> one!".to_owned()),
    ] {
        terminal.press(keys).await;
        terminal.shows(&shown).await;
    }
}

#[tokio::test]
async fn arrows_walk_through_the_history_also_that_of_the_last_time() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.line("first", "first\n\n").await;
    terminal.line("/set nohistory", "").await;
    terminal.line("secret", "secret\n\n").await;
    terminal.line("/set history", "").await;
    // Within the conversation the history has everything.
    for (key, line) in [
        (UP, "/set history"),
        (UP, "secret"),
        ("\x10", "/set nohistory"), // Ctrl-P
        (UP, "first"),
        (UP, "first"),
        (DOWN, "/set nohistory"),
        ("\x0e", "secret"), // Ctrl-N
    ] {
        terminal.press(&format!("{CLEAR}{key}")).await;
        terminal.shows(&format!(">>> {line}")).await;
    }
    terminal.press(CTRL_C).await;
    terminal.ends_with(PROMPT).await;
    terminal.press(CTRL_D).await;
    assert_eq!(terminal.exit_code().await, Some(0));

    let mode = fs_err::metadata(drover.history()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let mut terminal = talk(&drover).await;
    terminal.press(UP).await;
    let last = fs_err::read_to_string(drover.history()).unwrap();
    let last = last.lines().last().unwrap().to_owned();
    terminal.shows(&format!(">>> {last}")).await;
}

#[tokio::test]
async fn what_was_said_without_history_is_not_written_down() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.line("first", "first\n\n").await;
    terminal.line("/set nohistory", "").await;
    terminal.line("secret", "secret\n\n").await;
    terminal.press("/bye\r").await;
    assert_eq!(terminal.exit_code().await, Some(0));
    let kept = fs_err::read_to_string(drover.history()).unwrap();
    assert!(
        kept.contains("first\n") && !kept.contains("secret"),
        "{kept}"
    );

    let drover = drover.env("OLLAMA_NOHISTORY", "1");
    let mut terminal = talk(&drover).await;
    terminal.line("another", "another\n\n").await;
    terminal.press("/bye\r").await;
    assert_eq!(terminal.exit_code().await, Some(0));
    assert_eq!(fs_err::read_to_string(drover.history()).unwrap(), kept);
}

#[tokio::test]
async fn an_editor_gives_the_line_back() {
    let (_server, drover) = with_model().await;
    let editor = drover.folder().join("editor");
    fs_err::write(&editor, "#!/bin/sh\nprintf ' of the editor' >>\"$1\"\n").unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(&editor, executable).unwrap();
    let drover = drover.env("OLLAMA_EDITOR", editor.to_str().unwrap());
    let mut terminal = talk(&drover).await;
    terminal.press("words\x07").await;
    terminal.ends_with(">>> words of the editor").await;
    terminal.press("\r").await;
    terminal
        .ends_with(&format!("words of the editor\n\n{PROMPT}"))
        .await;

    let drover = drover.env("OLLAMA_EDITOR", "no-such-editor");
    let mut terminal = talk(&drover).await;
    terminal.press("words\x07").await;
    terminal
        .has("error: editor \"no-such-editor\" not found")
        .await;
    terminal.ends_with(">>> words").await;
}

#[tokio::test]
async fn resizing_draws_the_line_anew() {
    let (_server, drover) = with_model().await;
    let mut terminal = talk(&drover).await;
    terminal.press("0123456789 0123456789").await;
    terminal.shows(">>> 0123456789 0123456789").await;
    terminal.resize(40, 20);
    terminal.shows(">>> 0123456789 01234\n56789").await;
    terminal.press("!").await;
    terminal.shows(">>> 0123456789 01234\n56789!").await;
    terminal.resize(40, 80);
    terminal.press(CLEAR).await;
    terminal.shows(">>> 0123456789 0123456789!").await;
    terminal.press("\r").await;
    terminal
        .ends_with(&format!("0123456789 0123456789!\n\n{PROMPT}"))
        .await;
}
