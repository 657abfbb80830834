//! The text of a question, which follows the state.

use super::labels::Label;
use super::{Question, QuestionKind};

/// The end of all questions: after it, every prompt is the same.
pub(super) const CLOSE: &str = "Reply with one of these labels and nothing else.";

/// The text of a question: what is asked, the options with their labels, and how to answer.
pub(super) fn text(question: &Question, labels: &[Label]) -> String {
    let mut text = String::new();
    if !question.instructions.is_empty() {
        text.push_str("Question: ");
        text.push_str(&question.instructions);
        text.push('\n');
    }
    text.push_str(match &question.kind {
        QuestionKind::Choice(_) => "Options:\n",
        QuestionKind::Score(_) => "Levels, lowest first:\n",
        QuestionKind::YesNo { .. } => "Answers:\n",
    });
    for (label, option) in labels.iter().zip(options(&question.kind)) {
        text.push_str(&label.text);
        text.push_str(": ");
        text.push_str(&option);
        text.push('\n');
    }
    text.push_str(CLOSE);
    text
}

fn options(kind: &QuestionKind) -> Vec<String> {
    let or = |description: &str, default: &str| {
        let is_given = !description.is_empty();
        if is_given { description } else { default }.to_owned()
    };
    match kind {
        QuestionKind::Choice(options) => options
            .iter()
            .map(|option| match option.description.as_str() {
                "" => option.name.clone(),
                description => format!("{} ({description})", option.name),
            })
            .collect(),
        QuestionKind::Score(levels) => levels.clone(),
        QuestionKind::YesNo { yes, no } => vec![or(yes, "it is so"), or(no, "it is not so")],
    }
}
