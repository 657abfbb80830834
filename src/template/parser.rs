//! Builds the syntax tree from the tokens; errors are in Go's words.
//!
//! *Invariant:* the tree is at most [`MAX_NESTING`] levels deep, so code that walks it may recurse.

use std::collections::BTreeMap;

use super::ast::{Branch, Call, Node, Operand, Pipe, Term};
use super::lexer::{Kind, Token, lex};
use super::{MAX_NESTING, ParseError};

/// The bodies by name; the template's own has an empty one.
pub(super) type Bodies = BTreeMap<String, Vec<Node>>;

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    End,
    Else,
}

impl Ending {
    fn describe(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

/// A node, or what ends the list of nodes.
enum Parsed {
    Node(Node),
    Ending(Ending),
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Bodies, ParseError> {
    let mut parser = Parser {
        tokens: lex(text),
        next: 0,
        action_line: None,
        variables: vec!["$".to_owned()],
        range_depth: 0,
        nesting: 0,
        bodies: Bodies::new(),
    };
    let root = parser.root()?;
    parser.add(String::new(), root)?;
    Ok(parser.bodies)
}

/// The parser; pipelines are in `pipeline.rs`.
pub(super) struct Parser {
    tokens: Vec<Token>,
    next: usize,
    /// The line of the action that is being read.
    action_line: Option<usize>,
    pub(super) variables: Vec<String>,
    range_depth: usize,
    nesting: usize,
    bodies: Bodies,
}

impl Parser {
    fn root(&mut self) -> Result<Vec<Node>, ParseError> {
        let mut list = Vec::new();
        while self.peek().kind != Kind::Eof {
            let start = self.next;
            if self.peek().kind == Kind::LeftDelim {
                self.take();
                if self.take_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.next = start;
            }
            match self.text_or_action()? {
                Parsed::Node(node) => list.push(node),
                Parsed::Ending(ending) => {
                    return Err(self.error(format!("unexpected {}", ending.describe())));
                }
            }
        }
        Ok(list)
    }

    /// `{{define "name"}} … {{end}}`
    fn definition(&mut self) -> Result<(), ParseError> {
        const CONTEXT: &str = "define clause";
        let token = self.take_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect_right_delim(CONTEXT)?;
        self.body(name, CONTEXT)
    }

    /// Parses the body of a separate template, which cannot use the surrounding variables.
    fn body(&mut self, name: String, context: &str) -> Result<(), ParseError> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (list, ending) = self.list()?;
        self.variables = outer;
        self.range_depth = range_depth;
        if ending == Ending::Else {
            return Err(self.error(format!("unexpected {{{{else}}}} in {context}")));
        }
        self.add(name, list)
    }

    /// Any other body replaces an empty one; two that are not empty are an error.
    fn add(&mut self, name: String, list: Vec<Node>) -> Result<(), ParseError> {
        let old = self.bodies.get(&name);
        if old.is_none_or(|old| is_empty(old)) {
            self.bodies.insert(name, list);
        } else if !is_empty(&list) {
            let name = super::escape::quote(name.as_bytes(), false);
            return Err(self.error(format!("template: multiple definition of template {name}")));
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(Vec<Node>, Ending), ParseError> {
        self.enter()?;
        let mut list = Vec::new();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Parsed::Node(node) => list.push(node),
                Parsed::Ending(ending) => {
                    self.leave();
                    return Ok((list, ending));
                }
            }
        }
        Err(self.error("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Result<Parsed, ParseError> {
        let token = self.take_non_space();
        match token.kind {
            Kind::Text => Ok(Parsed::Node(Node::Text(token.text))),
            Kind::LeftDelim => {
                self.action_line = Some(token.line);
                let parsed = self.action()?;
                self.action_line = None;
                Ok(parsed)
            }
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    fn action(&mut self) -> Result<Parsed, ParseError> {
        let start = self.next;
        let token = self.take_non_space();
        let node = match token.kind {
            Kind::Block => self.block()?,
            Kind::Break => self.loop_control(Node::Break, "{{break}}")?,
            Kind::Continue => self.loop_control(Node::Continue, "{{continue}}")?,
            Kind::Else => {
                let is_chained = matches!(self.peek_non_space().kind, Kind::If | Kind::With);
                if !is_chained {
                    self.expect_right_delim("else")?;
                }
                return Ok(Parsed::Ending(Ending::Else));
            }
            Kind::End => {
                self.expect_right_delim("end")?;
                return Ok(Parsed::Ending(Ending::End));
            }
            Kind::If => Node::If(self.branch(Kind::If)?),
            Kind::Range => Node::Range(self.branch(Kind::Range)?),
            Kind::With => Node::With(self.branch(Kind::With)?),
            Kind::Template => self.call()?,
            _ => {
                self.next = start;
                Node::Action(self.pipeline("command", Kind::RightDelim)?)
            }
        };
        Ok(Parsed::Node(node))
    }

    fn loop_control(&mut self, node: Node, name: &str) -> Result<Node, ParseError> {
        let token = self.take_non_space();
        if token.kind != Kind::RightDelim {
            return Err(self.unexpected(&token, name));
        }
        if self.range_depth == 0 {
            return Err(self.error(format!("{name} outside {{{{range}}}}")));
        }
        Ok(node)
    }

    /// What follows `if`, `range` and `with`; variables live until their end.
    fn branch(&mut self, kind: Kind) -> Result<Branch, ParseError> {
        let context = match kind {
            Kind::If => "if",
            Kind::With => "with",
            _ => "range",
        };
        let mark = self.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        self.range_depth += usize::from(kind == Kind::Range);
        let (list, ending) = self.list()?;
        self.range_depth -= usize::from(kind == Kind::Range);
        let otherwise = match ending {
            Ending::End => Vec::new(),
            Ending::Else => self.otherwise(kind)?,
        };
        self.variables.truncate(mark);
        Ok(Branch {
            pipe,
            list,
            otherwise,
        })
    }

    /// What follows `else`: `else if` and `else with` share the `end` of the first branch.
    fn otherwise(&mut self, kind: Kind) -> Result<Vec<Node>, ParseError> {
        if kind != Kind::Range && self.peek_non_space().kind == kind {
            self.take_non_space();
            self.enter()?;
            let branch = self.branch(kind)?;
            self.leave();
            return Ok(vec![if kind == Kind::If {
                Node::If(branch)
            } else {
                Node::With(branch)
            }]);
        }
        let (list, ending) = self.list()?;
        if ending == Ending::Else {
            return Err(self.error("expected end; found {{else}}"));
        }
        Ok(list)
    }

    /// `{{block "name" pipeline}} … {{end}}`: a definition and a call of it.
    fn block(&mut self) -> Result<Node, ParseError> {
        const CONTEXT: &str = "block clause";
        let token = self.take_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        self.body(name.clone(), CONTEXT)?;
        Ok(Node::Template(Call {
            pos: token.pos,
            name,
            pipe: Some(pipe),
        }))
    }

    fn call(&mut self) -> Result<Node, ParseError> {
        const CONTEXT: &str = "template clause";
        let token = self.take_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = if self.peek_non_space().kind == Kind::RightDelim {
            self.take_non_space();
            None
        } else {
            Some(self.pipeline(CONTEXT, Kind::RightDelim)?)
        };
        Ok(Node::Template(Call {
            pos: token.pos,
            name,
            pipe,
        }))
    }

    fn template_name(&self, token: &Token, context: &str) -> Result<String, ParseError> {
        match self.string(token)? {
            Some(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            None => Err(self.unexpected(token, context)),
        }
    }

    /// Returns the value of a string token; `None` for other tokens.
    pub(super) fn string(&self, token: &Token) -> Result<Option<Vec<u8>>, ParseError> {
        let inside = token.text.get(1..token.text.len().saturating_sub(1));
        let inside = inside.unwrap_or_default();
        match token.kind {
            // Go drops carriage returns from raw strings.
            Kind::RawString => Ok(Some(inside.replace('\r', "").into_bytes())),
            Kind::String => match super::escape::unquote(inside) {
                Some(bytes) => Ok(Some(bytes)),
                None => Err(self.error("invalid syntax")),
            },
            _ => Ok(None),
        }
    }

    fn expect_right_delim(&mut self, context: &str) -> Result<(), ParseError> {
        let token = self.take_non_space();
        if token.kind == Kind::RightDelim {
            Ok(())
        } else {
            Err(self.unexpected(&token, context))
        }
    }

    /// Goes one level deeper; every recursion of the parser calls this.
    pub(super) fn enter(&mut self) -> Result<(), ParseError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.error(format!("nested deeper than {MAX_NESTING} levels")));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.nesting -= 1;
    }

    pub(super) fn peek(&self) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[self.next.min(last)]
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    pub(super) fn peek_non_space(&mut self) -> &Token {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
        self.peek()
    }

    pub(super) fn take_non_space(&mut self) -> Token {
        self.peek_non_space();
        self.take()
    }

    /// Puts the last token back.
    pub(super) fn back(&mut self) {
        self.next -= 1;
    }

    pub(super) fn unexpected(&self, token: &Token, context: &str) -> ParseError {
        if token.kind == Kind::Error {
            let start = self.action_line.filter(|line| *line != token.line);
            let extra = match start {
                Some(line) if token.text.ends_with(" action") => format!(" started at :{line}"),
                Some(line) => format!(" in action started at :{line}"),
                None => String::new(),
            };
            return self.error(format!("{}{extra}", token.text));
        }
        self.error(format!("unexpected {} in {context}", token.describe()))
    }

    /// Makes an error at the line of the token that was read last.
    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        let read = self.next.saturating_sub(1).min(self.tokens.len() - 1);
        ParseError {
            line: self.tokens[read].line,
            message: message.into(),
        }
    }
}

/// Whether a list is only whitespace.
fn is_empty(list: &[Node]) -> bool {
    list.iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// Whether a value can only begin a pipeline.
pub(super) fn is_executable(operand: &Operand) -> bool {
    !matches!(
        operand.term,
        Term::Dot | Term::Nil | Term::Constant(..) | Term::Text(..)
    )
}

/// Checks that a pipeline has a command, and that only the first one is a constant.
pub(super) fn check(pipe: &Pipe, context: &str) -> Result<(), String> {
    if pipe.commands.is_empty() {
        return Err(format!("missing value for {context}"));
    }
    for (index, command) in pipe.commands.iter().enumerate().skip(1) {
        if !is_executable(&command.first) {
            let stage = index + 1;
            return Err(format!("non executable command in pipeline stage {stage}"));
        }
    }
    Ok(())
}
