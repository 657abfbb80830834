//! Texts in parts have the same tokens that llama.cpp gives for the whole texts.

use proptest::prelude::*;

use super::*;

/// Tokenizes a whole text with llama.cpp alone.
fn whole(llama: &Llama, text: &str, [add_special, parse_special]: [bool; 2]) -> Vec<Token> {
    let vocab = llama.model.vocab();
    let tokens = vocab.tokenize(text.as_bytes(), add_special, parse_special);
    tokens.into_iter().map(|token| token.0).collect()
}

fn check(llama: &Llama, text: &str) {
    for parse_special in [true, false] {
        let preparer = llama.preparer();
        let ours = preparer.tokenize(text, parse_special).unwrap();
        assert_eq!(ours, whole(llama, text, [false, parse_special]), "{text:?}");
        let ours = with_ends(llama, text, parse_special);
        assert_eq!(ours, whole(llama, text, [true, parse_special]), "{text:?}");
    }
}

/// Pieces of texts: special tokens of several families, some cut short, words, punctuation, whitespace.
const PIECES: [&str; 36] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<unused7>",
    "<table>",
    "</td>",
    "<|im_",
    "im_start|>",
    "<",
    ">",
    "|",
    "user",
    " assistant",
    "Hello",
    " world",
    " don't",
    "\n",
    "\n\n",
    "\n\n\n\n\n",
    " ",
    "  ",
    "     ",
    "\t",
    "\t\t\t",
    "\u{2581}",
    "\u{2581}\u{2581}\u{2581}",
    "123456",
    " 3.14",
    "ä",
    "日本語",
    "\u{a0}",
    "!?...",
];

/// Two thousand words and punctuation marks in random order; some are places to cut at.
fn long_text(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let words = [
        "the",
        "quick",
        "Brown",
        "fox's",
        "jumped",
        "1234",
        "--",
        "(or",
        "not)",
        "über",
        "日本",
        "a",
        "I",
        "WE'LL",
        "x=y;",
        "e.g.",
        "it\nis",
        "end.\nNext",
        "\n\n",
        "one\n\n two",
        " ",
        "",
        "\t",
        "\r\n",
        "\n1",
        "a\nb",
        "\u{3000}",
        "über\näh",
    ];
    let words = std::iter::repeat_with(|| *random.choice(&words).unwrap());
    words.take(20_000).collect::<Vec<_>>().join(" ")
}

#[test]
fn texts_in_parts_have_the_same_tokens() {
    let _one = one_at_a_time();
    for name in [SMOLLM2, GEMMA3] {
        let Some(path) = model(name) else { return };
        let llama = load(&params(path));
        for seed in 0..4 {
            let text = long_text(seed);
            let parts = llama.preparer().cut(&text, true).unwrap();
            assert!(parts.len() > 4, "{name}: {} parts", parts.len());
            check(&llama, &text);
        }
        let pieces = prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24);
        let config = ProptestConfig::with_cases(300);
        proptest!(config, |(pieces in pieces)| check(&llama, &pieces.concat()));
    }
}

#[test]
fn a_hundred_thousand_special_tokens_take_no_time() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let llama = load(&params(path));
    let begun = std::time::Instant::now();
    let tokens = llama
        .preparer()
        .tokenize(&"<|im_start|>".repeat(100_000), true);
    assert_eq!(tokens.unwrap(), vec![1; 100_000]);
    // With llama.cpp alone it takes a minute.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
