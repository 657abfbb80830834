//! Executes a tree over a value.
//!
//! *Invariant:* every node and operand costs a step, every level of nesting counts against the depth limit,
//! and the output of functions is counted. So execution ends, and its stack is bounded.

use super::ast::{Branch, Call, Command, Node, Operand, Pipe, Term};
use super::format::{self, Sink};
use super::funcs::{self, Function};
use super::value::{Content, Value};
use super::{ExecError, MAX_BYTES, MAX_DEPTH, MAX_STEPS, Template};

type Result<T> = std::result::Result<T, ExecError>;

/// Executes a template's main body.
pub(super) fn render(template: &Template, value: &Value) -> Result<Vec<u8>> {
    // Without data, Go's dot is an invalid value, not nil.
    let root = if value.is_nil() {
        Value::Absent
    } else {
        value.clone()
    };
    let mut state = State {
        template,
        name: "",
        variables: vec![("$", root.clone())],
        out: Sink::new(MAX_BYTES),
        steps: MAX_STEPS,
        produced: MAX_BYTES,
        depth: 0,
    };
    if let Some(body) = template.bodies.get("") {
        state.list(&root, body)?;
    }
    Ok(state.out.into_bytes())
}

/// How to continue after a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// A place in the source and its text, for messages.
#[derive(Clone, Copy)]
struct At<'a> {
    pos: usize,
    what: &'a dyn std::fmt::Display,
}

impl Operand {
    fn at(&self) -> At<'_> {
        At {
            pos: self.pos,
            what: self,
        }
    }
}

impl Command {
    fn at(&self) -> At<'_> {
        At {
            pos: self.pos,
            what: self,
        }
    }
}

struct State<'a> {
    template: &'a Template,
    /// The name of the body that is being executed.
    name: &'a str,
    /// Innermost last.
    variables: Vec<(&'a str, Value)>,
    out: Sink,
    /// What is left of each limit.
    steps: usize,
    produced: usize,
    depth: usize,
}

impl<'a> State<'a> {
    fn list(&mut self, dot: &Value, list: &'a [Node]) -> Result<Flow> {
        for node in list {
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value, node: &'a Node) -> Result<Flow> {
        match node {
            Node::Text(text) => {
                self.out.push(text);
                self.check_output(At { pos: 0, what: text })?;
            }
            Node::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    format::action(&mut self.out, &value);
                    self.check_output(place(pipe))?;
                }
            }
            Node::If(branch) => return self.choose(dot, branch, false),
            Node::With(branch) => return self.choose(dot, branch, true),
            Node::Range(branch) => self.range(dot, branch)?,
            Node::Template(call) => self.call_template(dot, call)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn check_output(&self, at: At<'_>) -> Result<()> {
        if self.out.is_full() {
            return Err(self.error(at, "result too long"));
        }
        Ok(())
    }

    /// `if` and `with`; the latter moves the dot.
    fn choose(&mut self, dot: &Value, branch: &'a Branch, moves_dot: bool) -> Result<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        self.enter(place(&branch.pipe))?;
        let flow = match (value.is_true(), moves_dot) {
            (true, true) => self.list(&value, &branch.list)?,
            (true, false) => self.list(dot, &branch.list)?,
            (false, _) => self.list(dot, &branch.otherwise)?,
        };
        self.depth -= 1;
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Value, branch: &'a Branch) -> Result<()> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let at = place(&branch.pipe);
        self.enter(at)?;
        let is_empty = match value.plain() {
            Value::Absent | Value::Nil => true,
            Value::List(list) => {
                for (index, item) in list.items().iter().enumerate() {
                    let index = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    if self.iteration(index, item, branch)? == Flow::Break {
                        break;
                    }
                }
                list.items().is_empty()
            }
            Value::Map(map) => {
                for (key, item) in map.iter() {
                    if self.iteration(key.as_str().into(), item, branch)? == Flow::Break {
                        break;
                    }
                }
                map.is_empty()
            }
            Value::Int(_) if branch.pipe.variables.len() > 1 => {
                let shown = self.shown(&value);
                let message = format!("can't use {shown} to iterate over more than one variable");
                return Err(self.error(at, &message));
            }
            Value::Int(count) => {
                for index in 0..*count {
                    let index = Value::Int(index);
                    if self.iteration(index.clone(), &index, branch)? == Flow::Break {
                        break;
                    }
                }
                *count <= 0
            }
            other => {
                let shown = self.shown(other);
                return Err(self.error(at, &format!("range can't iterate over {shown}")));
            }
        };
        if is_empty {
            self.list(dot, &branch.otherwise)?;
        }
        self.depth -= 1;
        self.variables.truncate(mark);
        Ok(())
    }

    /// One iteration of a loop: its variables are on top of the stack, since the pipeline declared them.
    fn iteration(&mut self, index: Value, item: &Value, branch: &'a Branch) -> Result<Flow> {
        let mark = self.variables.len();
        let pipe = &branch.pipe;
        self.step(place(pipe))?;
        let values = match pipe.variables.as_slice() {
            [] => Vec::new(),
            [_] => vec![item.clone()],
            _ => vec![index, item.clone()],
        };
        let first = mark.saturating_sub(values.len());
        for (at, (name, value)) in pipe.variables.iter().zip(values).enumerate() {
            if pipe.is_assignment {
                self.assign(name, value, place(pipe))?;
            } else if let Some(variable) = self.variables.get_mut(first + at) {
                variable.1 = value;
            }
        }
        let flow = self.list(item, &branch.list)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn call_template(&mut self, dot: &Value, call: &'a Call) -> Result<()> {
        let at = At {
            pos: call.pos,
            what: call,
        };
        let Some((name, body)) = self.template.bodies.get_key_value(&call.name) else {
            return Err(self.error(at, &format!("template {:?} not defined", call.name)));
        };
        let argument = match &call.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Absent,
        };
        self.enter(at)?;
        let outer = std::mem::replace(&mut self.variables, vec![("$", argument.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name);
        self.list(&argument, body)?;
        self.variables = outer;
        self.name = outer_name;
        self.depth -= 1;
        Ok(())
    }

    fn pipeline(&mut self, dot: &Value, pipe: &'a Pipe) -> Result<Value> {
        self.enter(place(pipe))?;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or(Value::Absent);
        for name in &pipe.variables {
            if pipe.is_assignment {
                self.assign(name, value.clone(), place(pipe))?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    fn assign(&mut self, name: &str, value: Value, at: At<'_>) -> Result<()> {
        let mut variables = self.variables.iter_mut().rev();
        match variables.find(|(variable, _)| *variable == name) {
            Some(variable) => {
                variable.1 = value;
                Ok(())
            }
            None => Err(self.error(at, &format!("undefined variable: {name}"))),
        }
    }

    /// `last` is the value of the previous command, which is the last argument of this one.
    fn command(&mut self, dot: &Value, command: &'a Command, last: Option<Value>) -> Result<Value> {
        let first = &command.first;
        if let Term::Function(name) = &first.term {
            return self.function(dot, name, command, last);
        }
        let has_arguments = !command.arguments.is_empty() || last.is_some();
        if has_arguments {
            let name = match &first.term {
                Term::Field(fields) | Term::Variable(_, fields) | Term::Chain(_, fields) => {
                    fields.last()
                }
                _ => None,
            };
            let message = match name {
                Some(name) => format!("{name} is not a method but has arguments"),
                None => format!("can't give argument to non-function {first}"),
            };
            return Err(self.error(first.at(), &message));
        }
        if matches!(first.term, Term::Nil) {
            return Err(self.error(first.at(), "nil is not a command"));
        }
        self.operand(dot, first)
    }

    fn operand(&mut self, dot: &Value, operand: &'a Operand) -> Result<Value> {
        self.step(operand.at())?;
        match &operand.term {
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Ok(Value::Nil),
            Term::Constant(_, value) | Term::Text(_, value) => Ok(value.clone()),
            Term::Field(fields) => self.fields(dot.clone(), fields, operand),
            Term::Variable(name, fields) => {
                let mut variables = self.variables.iter().rev();
                match variables.find(|(variable, _)| variable == name) {
                    Some((_, value)) => self.fields(value.clone(), fields, operand),
                    None => Err(self.error(operand.at(), &format!("undefined variable: {name}"))),
                }
            }
            Term::Function(name) => self.call(operand.at(), name, &[]),
            Term::Pipe(pipe) => self.pipeline(dot, pipe),
            Term::Chain(inner, fields) => {
                if matches!(inner.term, Term::Nil) {
                    return Err(self.error(operand.at(), "indirection through explicit nil"));
                }
                let value = self.operand(dot, inner)?;
                self.fields(value, fields, operand)
            }
        }
    }

    fn fields(&self, value: Value, fields: &[String], operand: &Operand) -> Result<Value> {
        let mut value = value;
        for field in fields {
            value = lookup(&value, field).map_err(|message| self.error(operand.at(), &message))?;
        }
        Ok(value)
    }

    fn function(
        &mut self,
        dot: &Value,
        name: &str,
        command: &'a Command,
        last: Option<Value>,
    ) -> Result<Value> {
        let Some(function) = funcs::find(name) else {
            let message = format!("{name:?} is not a defined function");
            return Err(self.error(command.first.at(), &message));
        };
        let given = command.arguments.len() + usize::from(last.is_some());
        self.check_arity(function, given, &command.first)?;
        let stops_at = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        let mut arguments = Vec::with_capacity(given);
        for operand in &command.arguments {
            let value = self.operand(dot, operand)?;
            if stops_at == Some(value.is_true()) {
                return Ok(value);
            }
            arguments.push(value);
        }
        if let ("call", Some(value), Some(operand)) =
            (name, arguments.first(), command.arguments.first())
        {
            // No value can be a function.
            let kind = value.type_name();
            let message = format!("error calling call: non-function {operand} of type {kind}");
            return Err(self.error(command.at(), &message));
        }
        arguments.extend(last);
        self.call(command.at(), name, &arguments)
    }

    fn check_arity(&self, function: &Function, given: usize, first: &Operand) -> Result<()> {
        let (least, name) = (function.least, function.name);
        let wanted = match function.most {
            Some(most) if given < least || given > most => format!("{least}"),
            None if given < least => format!("at least {least}"),
            _ => return Ok(()),
        };
        let message = format!("wrong number of args for {name}: want {wanted} got {given}");
        Err(self.error(first.at(), &message))
    }

    fn call(&mut self, at: At<'_>, name: &str, arguments: &[Value]) -> Result<Value> {
        let Some(function) = funcs::find(name) else {
            return Err(self.error(at, &format!("{name:?} is not a defined function")));
        };
        if arguments.len() < function.least {
            let (least, given) = (function.least, arguments.len());
            let wanted = if function.most.is_some() {
                ""
            } else {
                "at least "
            };
            let message =
                format!("wrong number of args for {name}: want {wanted}{least} got {given}");
            return Err(self.error(at, &message));
        }
        let result = (function.call)(arguments);
        let value =
            result.map_err(|reason| self.error(at, &format!("error calling {name}: {reason}")))?;
        if let Value::String(bytes) = &value {
            let Some(left) = self.produced.checked_sub(bytes.len()) else {
                return Err(self.error(at, "functions produced too much"));
            };
            self.produced = left;
        }
        Ok(value)
    }

    fn shown(&self, value: &Value) -> String {
        let mut out = Sink::new(MAX_BYTES);
        format::value(&mut out, value);
        String::from_utf8_lossy(&out.into_bytes()).into_owned()
    }

    fn enter(&mut self, at: At<'_>) -> Result<()> {
        self.step(at)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("exceeded maximum template depth ({MAX_DEPTH})");
            return Err(self.error(at, &message));
        }
        Ok(())
    }

    fn step(&mut self, at: At<'_>) -> Result<()> {
        match self.steps.checked_sub(1) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(self.error(at, &format!("more than {MAX_STEPS} steps"))),
        }
    }

    fn error(&self, at: At<'_>, message: &str) -> ExecError {
        let before = self.template.source.as_bytes().get(..at.pos);
        let before = before.unwrap_or_default();
        let line_start = before.iter().rposition(|byte| *byte == b'\n');
        ExecError {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: line_start.map_or(at.pos, |end| at.pos - end - 1),
            name: self.name.to_owned(),
            context: at.what.to_string(),
            message: message.to_owned(),
        }
    }
}

/// Go's message names the last command of a pipeline that gave a wrong value.
fn place(pipe: &Pipe) -> At<'_> {
    match pipe.commands.last() {
        Some(command) if command.arguments.is_empty() => command.first.at(),
        Some(command) => command.at(),
        None => At { pos: 0, what: pipe },
    }
}

/// A field of a struct or an element of a map.
fn lookup(value: &Value, field: &str) -> std::result::Result<Value, String> {
    match value.plain() {
        Value::Absent => Ok(Value::Absent),
        Value::Nil => Err(format!("nil pointer evaluating interface {{}}.{field}")),
        Value::Map(map) => Ok(map.get(field).cloned().unwrap_or(Value::Nil)),
        Value::Typed(typed) => {
            let fields = match &typed.content {
                Content::Fields(fields) => fields.as_slice(),
                Content::Plain(_) => &[],
            };
            let found = fields.iter().find(|(name, _)| *name == field);
            found
                .map(|(_, value)| value.clone())
                .ok_or_else(|| format!("can't evaluate field {field} in type {}", typed.type_name))
        }
        _ => Err(format!(
            "can't evaluate field {field} in type interface {{}}"
        )),
    }
}
