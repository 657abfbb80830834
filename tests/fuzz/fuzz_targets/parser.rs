//! No output makes a parser panic, and it does not matter where the output is cut.
#![no_main]

use drover::families;
use drover::parser::{Parser, Piece, Start};
use libfuzzer_sys::fuzz_target;

fn parse(parser: &mut dyn Parser, texts: &[&str]) -> Option<Piece> {
    let mut all = Piece::default();
    for text in texts {
        add(&mut all, parser.push(text).ok()?);
    }
    add(&mut all, parser.finish().ok()?);
    Some(all)
}

fn add(all: &mut Piece, piece: Piece) {
    all.content += &piece.content;
    all.thinking += &piece.thinking;
    all.tool_calls.extend(piece.tool_calls);
}

fuzz_target!(|input: (usize, usize, &str)| {
    let (family, cut, text) = input;
    let n_parsers = families::parsers().count();
    let entry = families::parsers().nth(family % n_parsers).expect("one of them");
    let new = || (entry.new)(&Start::default());
    let whole = parse(&mut *new(), &[text]);
    let cut = cut % (text.len() + 1);
    if text.is_char_boundary(cut) {
        let (front, back) = text.split_at(cut);
        assert_eq!(whole, parse(&mut *new(), &[front, back]), "{}", entry.name);
    }
});
