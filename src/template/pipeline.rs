//! The second half of the parser: pipelines, commands, operands.

use super::ast::{Command, Operand, Pipe, Term};
use super::funcs;
use super::lexer::Kind;
use super::parser::{Parser, check};
use super::value::Value;
use super::{MAX_VARIABLES, ParseError};

impl Parser {
    /// Parses up to and including `end`.
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe, ParseError> {
        self.enter()?;
        let mut pipe = Pipe {
            variables: Vec::new(),
            is_assignment: false,
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.take_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.back();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return Err(self.unexpected(&token, context)),
            }
        }
        check(&pipe, context).map_err(|message| self.error(message))?;
        self.leave();
        Ok(pipe)
    }

    /// `$x :=`, `$x =`, `$i, $x :=`, if there is one.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), ParseError> {
        while self.peek_non_space().kind == Kind::Variable {
            let variable = self.take();
            // A variable that is not assigned is an operand, and then the space after it matters.
            let has_space = self.peek().kind == Kind::Space;
            let next = self.peek_non_space().clone();
            let is_comma = next.kind == Kind::Char && next.text == ",";
            if !is_comma && !matches!(next.kind, Kind::Assign | Kind::Declare) {
                if has_space {
                    self.back();
                }
                self.back();
                return Ok(());
            }
            self.take();
            pipe.variables.push(variable.text.clone());
            self.variables.push(variable.text);
            if self.variables.len() > MAX_VARIABLES {
                return Err(self.error(format!("more than {MAX_VARIABLES} variables")));
            }
            if !is_comma {
                pipe.is_assignment = next.kind == Kind::Assign;
                return Ok(());
            }
            if context != "range" || pipe.variables.len() >= 2 {
                return Err(self.error(format!("too many declarations in {context}")));
            }
            let follows = self.peek_non_space().kind;
            if !matches!(
                follows,
                Kind::Variable | Kind::RightDelim | Kind::RightParen
            ) {
                return Err(self.error("range can only initialize variables"));
            }
        }
        Ok(())
    }

    /// Parses operands separated by spaces, up to a `|` (which is consumed) or the end (which is not).
    fn command(&mut self) -> Result<Command, ParseError> {
        let pos = self.peek_non_space().pos;
        let mut operands = Vec::new();
        loop {
            self.peek_non_space();
            operands.extend(self.operand()?);
            let token = self.take();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelim | Kind::RightParen => {
                    self.back();
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(self.unexpected(&token, "operand")),
            }
        }
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else {
            return Err(self.error("empty command"));
        };
        Ok(Command {
            pos,
            first,
            arguments: operands.collect(),
        })
    }

    /// Parses a term with the fields that follow it.
    fn operand(&mut self) -> Result<Option<Operand>, ParseError> {
        let Some(mut operand) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Kind::Field {
            return Ok(Some(operand));
        }
        let pos = self.peek().pos;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(field_name(&self.take().text));
        }
        match &mut operand.term {
            Term::Field(own) | Term::Variable(_, own) => {
                own.append(&mut fields);
                operand.pos = pos;
            }
            Term::Function(_) | Term::Pipe(_) | Term::Chain(..) => {
                operand = Operand {
                    pos,
                    term: Term::Chain(Box::new(operand), fields),
                };
            }
            Term::Dot | Term::Nil | Term::Constant(..) | Term::Text(..) => {
                let term = super::escape::quote(operand.to_string().as_bytes(), false);
                return Err(self.error(format!("unexpected . after term {term}")));
            }
        }
        Ok(Some(operand))
    }

    fn term(&mut self) -> Result<Option<Operand>, ParseError> {
        let token = self.take_non_space();
        let term = match token.kind {
            Kind::Identifier if funcs::find(&token.text).is_none() => {
                let name = super::escape::quote(token.text.as_bytes(), false);
                return Err(self.error(format!("function {name} not defined")));
            }
            Kind::Identifier => Term::Function(token.text),
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable if !self.variables.contains(&token.text) => {
                let name = super::escape::quote(token.text.as_bytes(), false);
                return Err(self.error(format!("undefined variable {name}")));
            }
            Kind::Variable => Term::Variable(token.text, Vec::new()),
            Kind::Field => Term::Field(vec![field_name(&token.text)]),
            Kind::Bool => {
                let value = Value::Bool(token.text == "true");
                Term::Constant(token.text, value)
            }
            Kind::CharConstant => {
                let value = self.character(&token.text)?;
                Term::Constant(token.text, value)
            }
            Kind::Number => match super::number::parse_constant(&token.text) {
                Some(value) => Term::Constant(token.text, value),
                None => return Err(self.unexpected(&token, "operand")),
            },
            Kind::String | Kind::RawString => {
                let bytes = self.string(&token)?.unwrap_or_default();
                Term::Text(token.text, Value::bytes(bytes))
            }
            Kind::LeftParen => {
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                Term::Pipe(Box::new(pipe))
            }
            _ => {
                self.back();
                return Ok(None);
            }
        };
        Ok(Some(Operand {
            pos: token.pos,
            term,
        }))
    }

    /// Parses a character constant, whose value is its code.
    fn character(&self, text: &str) -> Result<Value, ParseError> {
        let inside = text
            .get(1..text.len().saturating_sub(1))
            .unwrap_or_default();
        let bytes = super::escape::unquote(inside).unwrap_or_default();
        let decoded = std::str::from_utf8(&bytes).unwrap_or_default();
        let mut characters = decoded.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(Value::Int(i64::from(u32::from(character)))),
            _ => Err(self.error(format!("malformed character constant: {text}"))),
        }
    }
}

fn field_name(text: &str) -> String {
    text.strip_prefix('.').unwrap_or(text).to_owned()
}
