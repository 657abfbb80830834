//! The syntax tree of a template, and how its parts print in messages (Go quotes the source).

use std::fmt::{self, Display, Formatter};

use super::value::Value;

/// One element of a template's body.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(Call),
    Break,
    Continue,
}

/// A condition, with the bodies for true and for false.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) list: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `{{template "name" pipeline}}`; a `block` also makes one.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) pos: usize,
    pub(super) name: String,
    pub(super) pipe: Option<Pipe>,
}

/// A chain of commands; each gets the value of the previous one. It may set variables.
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(super) is_assignment: bool,
    pub(super) commands: Vec<Command>,
}

/// An operand with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) pos: usize,
    pub(super) first: Operand,
    pub(super) arguments: Vec<Operand>,
}

/// A term and its byte offset in the source.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) pos: usize,
    pub(super) term: Term,
}

#[derive(Debug, Clone)]
pub(super) enum Term {
    Dot,
    Nil,
    /// A number, a character or a boolean, with its spelling.
    Constant(String, Value),
    /// A string with its spelling, quotes included.
    Text(String, Value),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`; the name keeps its dollar.
    Variable(String, Vec<String>),
    Function(String),
    /// `(pipeline)`
    Pipe(Box<Pipe>),
    /// `(pipeline).A.B`
    Chain(Box<Operand>, Vec<String>),
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = super::escape::quote(self.name.as_bytes(), false);
        match &self.pipe {
            Some(pipe) => write!(f, "{{{{template {name} {pipe}}}}}"),
            None => write!(f, "{{{{template {name}}}}}"),
        }
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.is_assignment { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            let separator = if index > 0 { " | " } else { "" };
            write!(f, "{separator}{command}")?;
        }
        Ok(())
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        for argument in &self.arguments {
            write!(f, " {argument}")?;
        }
        Ok(())
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let fields = match &self.term {
            Term::Dot => return f.write_str("."),
            Term::Nil => return f.write_str("nil"),
            Term::Constant(text, _) | Term::Text(text, _) | Term::Function(text) => {
                return f.write_str(text);
            }
            Term::Pipe(pipe) => return write!(f, "({pipe})"),
            Term::Field(fields) => fields,
            Term::Variable(name, fields) => {
                f.write_str(name)?;
                fields
            }
            Term::Chain(operand, fields) => {
                write!(f, "{operand}")?;
                fields
            }
        };
        for field in fields {
            write!(f, ".{field}")?;
        }
        Ok(())
    }
}
