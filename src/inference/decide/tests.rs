//! Distributions from log-probabilities, labels, and the texts of questions.

use super::labels::wanted;
use super::*;

fn question(kind: QuestionKind) -> Question {
    Question {
        name: "q".to_owned(),
        instructions: "What?".to_owned(),
        kind,
    }
}

fn choice(n: usize) -> Question {
    let option = |number: usize| Choice {
        name: format!("option {number}"),
        description: String::new(),
    };
    question(QuestionKind::Choice((0..n).map(option).collect()))
}

fn score(n: usize) -> Question {
    question(QuestionKind::Score(vec!["level".to_owned(); n]))
}

fn yes_no() -> Question {
    question(QuestionKind::YesNo {
        yes: "it burns".to_owned(),
        no: String::new(),
    })
}

fn of(probabilities: &[f64]) -> Distribution {
    Distribution {
        probabilities: probabilities.to_vec(),
        label_mass: 1.0,
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn labels_share_what_their_tokens_have() {
    let logprobs = [0.2_f64, 0.1, 0.1].map(f64::ln);
    let told = Distribution::new(&logprobs, [2, 1].into_iter());
    assert!(near(told.probabilities[0], 0.75) && near(told.probabilities[1], 0.25));
    assert!(near(told.label_mass, 0.4));
    // However improbable labels are, even with no probability at all.
    for least in [-900.0, -1e30] {
        let told = Distribution::new(&[least, least], [1, 1].into_iter());
        assert!(near(told.probabilities.iter().sum(), 1.0), "{told:?}");
        assert!(told.label_mass < 1e-300);
    }
}

#[test]
fn answers_follow_from_probabilities() {
    let told = of(&[0.1, 0.2, 0.7]);
    assert_eq!(told.best(), 2);
    assert!(near(told.mean(), 1.6));
    assert!(near(told.confidence(), (0.7 - 1.0 / 3.0) / (2.0 / 3.0)));
    // 0.1 · 2 + 0.2 · 1 from the most probable level; 2/3 if all are equally probable.
    assert!(near(told.ordered_confidence(), 1.0 - 0.4 / (2.0 / 3.0)));
    // Of equally probable options, the first.
    assert_eq!(of(&[0.3, 0.35, 0.35]).best(), 1);
    let even = of(&[0.5, 0.5]);
    assert!(near(even.confidence(), 0.0) && near(even.ordered_confidence(), 0.0));
    let sure = of(&[0.0, 1.0]);
    assert!(near(sure.confidence(), 1.0) && near(sure.ordered_confidence(), 1.0));
}

#[test]
fn the_state_counts_once() {
    let read = |n_prompt, n_cached| Read {
        distribution: Distribution::default(),
        n_prompt,
        n_cached,
    };
    let told = summed(vec![read(100, 0), read(110, 80), read(90, 80)], 80);
    assert_eq!((told.n_input, told.n_cached), (140, 0));
    // The state was cached before.
    let told = summed(vec![read(100, 80), read(110, 80)], 80);
    assert_eq!((told.n_input, told.n_cached), (130, 80));
    // The state was lost between the questions.
    let told = summed(vec![read(100, 0), read(110, 0)], 80);
    assert_eq!((told.n_input, told.n_cached), (130, 0));
    let told = summed(vec![read(100, 40)], 0);
    assert_eq!((told.n_input, told.n_cached), (100, 40));
}

#[test]
fn questions_have_as_many_options_as_they_may() {
    for n in [2, MOST_OPTIONS] {
        assert!(check(&choice(n)).is_ok(), "{n}");
    }
    for n in [2, MOST_LEVELS] {
        assert!(check(&score(n)).is_ok(), "{n}");
    }
    assert!(check(&yes_no()).is_ok());
    for bad in [choice(0), choice(1), choice(256), score(1), score(11)] {
        let error = check(&bad).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("questions"));
        assert!(error.message.contains("question \"q\" has"), "{error}");
    }
}

/// The labels of a vocabulary in which these texts are one token each at the start of an answer.
fn labels(known: &[&str], questions: &[Question]) -> Labels {
    let prompt = [1, 2];
    let texts = wanted(questions);
    let tokens = texts.iter().map(|text| {
        let known = known.iter().position(|known| known == text);
        let own = known.map_or(vec![7, 8], |place| {
            vec![100 + i32::try_from(place).unwrap()]
        });
        [&prompt[..], &own].concat()
    });
    let tokens: Vec<Vec<Token>> = tokens.collect();
    Labels::new(texts, &prompt, tokens.into_iter())
}

#[test]
fn labels_are_single_tokens_with_or_without_a_blank() {
    let questions = [choice(2), score(3), yes_no()];
    let known = labels(
        &["A", " A", "B", "0", "1", "2", " yes", "Yes", "no"],
        &questions,
    );
    let of = |index: usize| {
        let labels = known.of(&questions[index]).unwrap();
        let labels = labels.into_iter();
        labels
            .map(|label| (label.text, label.tokens))
            .collect::<Vec<_>>()
    };
    let label = |text: &str, tokens: &[Token]| (text.to_owned(), tokens.to_vec());
    assert_eq!(of(0), [label("A", &[100, 101]), label("B", &[102])]);
    assert_eq!(
        of(1),
        [label("0", &[103]), label("1", &[104]), label("2", &[105])]
    );
    assert_eq!(of(2), [label("yes", &[106, 107]), label("no", &[108])]);
}

#[test]
fn labels_are_read_behind_the_end_of_the_prompt_alone() {
    let end = format!("{}</user><assistant>", prompt::CLOSE);
    assert_eq!(tail(&format!("{}{end}", "Be fair. ".repeat(1000))), end);
    // Templates may drop the message.
    assert_eq!(tail("<assistant>"), "<assistant>");
    let other = "\u{e9}".repeat(MOST_TAIL);
    assert_eq!(tail(&other).len(), MOST_TAIL);
}

#[test]
fn a_short_stay_begins_with_the_last_step() {
    let of = |seconds| KeepAlive::For(Duration::from_secs(seconds));
    let between = Some(of(10));
    assert_eq!(stays(Some(of(0)), of(300)), (between, Some(of(0))));
    assert_eq!(stays(None, of(0)), (between, Some(of(0))));
    assert_eq!(stays(None, of(300)), (None, None));
    let forever = Some(KeepAlive::Forever);
    assert_eq!(stays(forever, of(0)), (None, forever));
}

#[test]
fn letters_that_are_no_token_are_passed_over_and_pairs_follow() {
    let letters: Vec<String> = ('A'..='Z').map(String::from).collect();
    let mut known: Vec<&str> = letters
        .iter()
        .map(String::as_str)
        .filter(|&it| it != "B")
        .collect();
    known.extend(["AC", "ZZ"]);
    let questions = [choice(27)];
    let many = labels(&known, &questions).of(&questions[0]).unwrap();
    let texts: Vec<&str> = many.iter().map(|label| label.text.as_str()).collect();
    assert_eq!(texts[..2], ["A", "C"]);
    assert_eq!(texts[24..], ["Z", "AC", "ZZ"]);
    for (question, what) in [
        (choice(28), "28 labels"),
        (score(2), "digits"),
        (yes_no(), "\"yes\" and \"no\""),
    ] {
        let questions = [question];
        let error = labels(&known, &questions).of(&questions[0]).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert!(error.message.contains(what), "{error}");
    }
}

#[test]
fn a_question_shows_its_labels_and_ends_as_all_do() {
    let labels = |texts: &[&str]| -> Vec<Label> {
        let label = |text: &&str| Label {
            text: (*text).to_owned(),
            tokens: Vec::new(),
        };
        texts.iter().map(label).collect()
    };
    let text = prompt::text(&yes_no(), &labels(&["yes", "no"]));
    let expected = "Question: What?\nAnswers:\nyes: it burns\nno: it is not so\n";
    assert_eq!(text, format!("{expected}{}", prompt::CLOSE));
    let mut question = choice(2);
    question.instructions.clear();
    if let QuestionKind::Choice(options) = &mut question.kind {
        "the first".clone_into(&mut options[0].description);
    }
    let text = prompt::text(&question, &labels(&["A", "B"]));
    let expected = "Options:\nA: option 0 (the first)\nB: option 1\n";
    assert_eq!(text, format!("{expected}{}", prompt::CLOSE));
}
