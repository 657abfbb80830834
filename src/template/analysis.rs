//! What can be found out about a template without rendering it: names, tags, the part before an answer.
//!
//! The rules are those of Ollama's `template`, `thinking` and `tools` packages, which walk Go's trees in
//! their own ways; each function documents what it skips.

use std::collections::BTreeSet;

use super::Template;
use super::ast::{Branch, Command, Node, Operand, Pipe, Term};

impl Template {
    /// The names of all fields and variables in lower case, over all bodies.
    ///
    /// Fields of a parenthesized expression are skipped, as are the names that a pipeline declares.
    ///
    /// # Errors
    /// Ollama refuses `{{template "x"}}` without an argument.
    pub fn variables(&self) -> Result<BTreeSet<String>, &'static str> {
        let mut names = BTreeSet::new();
        for body in self.bodies.values() {
            list_names(body, &mut names)?;
        }
        Ok(names)
    }

    /// Adds the action `{{ .Response }}` at the end.
    pub(crate) fn append_response(&mut self) {
        let pos = self.source.len();
        let term = Term::Field(vec!["Response".to_owned()]);
        let command = Command {
            pos,
            first: Operand { pos, term },
            arguments: Vec::new(),
        };
        let action = Node::Action(Pipe {
            variables: Vec::new(),
            is_assignment: false,
            commands: vec![command],
        });
        self.bodies.entry(String::new()).or_default().push(action);
    }

    /// Returns a copy that ends with the first `.Response` in an action: the part before an answer.
    /// Conditions are not searched.
    pub(crate) fn up_to_response(&self) -> Self {
        let mut copy = self.clone();
        if let Some(body) = copy.bodies.get_mut("") {
            let mut is_cut = false;
            cut_list(body, &mut is_cut);
        }
        copy
    }

    /// Returns the texts around `.Thinking` in a loop over `.Messages`: opening and closing tag, empty if
    /// there is none.
    pub fn thinking_tags(&self) -> (String, String) {
        let mut found = ("", "");
        if let Some(body) = self.bodies.get("") {
            thinking_in_list(body, false, &mut found);
        }
        let (open, close) = found;
        (open.to_owned(), close.to_owned())
    }

    /// Returns the text that begins a tool call; `{` if the template has none.
    pub fn tool_tag(&self) -> String {
        let body = self.bodies.get("").map(Vec::as_slice).unwrap_or_default();
        let text = tool_call_list(body)
            .and_then(first_text)
            .unwrap_or_default();
        let text = text.replace("\r\n", "\n");
        let tag = text.split('{').next().unwrap_or_default().trim();
        if tag.is_empty() {
            "{".to_owned()
        } else {
            tag.to_owned()
        }
    }

    /// The source text.
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn list_names(list: &[Node], names: &mut BTreeSet<String>) -> Result<(), &'static str> {
    for node in list {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(pipe) => pipe_names(pipe, names),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                pipe_names(&branch.pipe, names);
                list_names(&branch.list, names)?;
                list_names(&branch.otherwise, names)?;
            }
            Node::Template(call) => match &call.pipe {
                Some(pipe) => pipe_names(pipe, names),
                None => return Err("undefined template specified"),
            },
        }
    }
    Ok(())
}

fn pipe_names(pipe: &Pipe, names: &mut BTreeSet<String>) {
    for operand in operands(pipe) {
        match &operand.term {
            Term::Field(fields) => names.extend(fields.iter().map(|name| name.to_lowercase())),
            Term::Variable(name, fields) => {
                names.insert(name.to_lowercase());
                names.extend(fields.iter().map(|name| name.to_lowercase()));
            }
            Term::Pipe(inner) => pipe_names(inner, names),
            _ => {}
        }
    }
}

fn operands(pipe: &Pipe) -> impl Iterator<Item = &Operand> {
    let commands = pipe.commands.iter();
    commands.flat_map(|command| std::iter::once(&command.first).chain(&command.arguments))
}

fn cut_list(list: &mut Vec<Node>, is_cut: &mut bool) {
    list.retain_mut(|node| {
        if *is_cut {
            return false;
        }
        match node {
            Node::Action(pipe) => cut_pipe(pipe, is_cut),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                cut_list(&mut branch.list, is_cut);
                cut_list(&mut branch.otherwise, is_cut);
                true
            }
            Node::Text(_) | Node::Template(_) | Node::Break | Node::Continue => true,
        }
    });
}

/// Also drops what follows the field inside an action; false when nothing is left.
fn cut_pipe(pipe: &mut Pipe, is_cut: &mut bool) -> bool {
    pipe.commands.retain_mut(|command| {
        if !cut_operand(&mut command.first, is_cut) {
            return false;
        }
        command
            .arguments
            .retain_mut(|operand| cut_operand(operand, is_cut));
        true
    });
    !pipe.commands.is_empty()
}

fn cut_operand(operand: &mut Operand, is_cut: &mut bool) -> bool {
    match &mut operand.term {
        Term::Field(fields) if fields.iter().any(|name| name == "Response") => {
            *is_cut = true;
            true
        }
        _ if *is_cut => false,
        Term::Pipe(pipe) => cut_pipe(pipe, is_cut),
        _ => true,
    }
}

/// `in_messages`: the innermost enclosing loop is over `.Messages`.
fn thinking_in_list<'a>(list: &'a [Node], in_messages: bool, found: &mut (&'a str, &'a str)) {
    for node in list {
        match node {
            Node::Action(pipe) => {
                if in_messages && mentions(pipe, "Thinking") {
                    take_tags(list, found);
                }
            }
            Node::If(branch) | Node::With(branch) => {
                thinking_in_branch(list, branch, in_messages, found);
            }
            Node::Range(branch) => {
                let in_messages = mentions(&branch.pipe, "Messages");
                thinking_in_branch(list, branch, in_messages, found);
            }
            Node::Template(call) => {
                let pipe = call.pipe.as_ref();
                if in_messages && pipe.is_some_and(|pipe| mentions(pipe, "Thinking")) {
                    take_tags(list, found);
                }
            }
            Node::Text(_) | Node::Break | Node::Continue => {}
        }
    }
}

fn thinking_in_branch<'a>(
    around: &'a [Node],
    branch: &'a Branch,
    in_messages: bool,
    found: &mut (&'a str, &'a str),
) {
    // A condition belongs to the list that contains the branch.
    if in_messages && mentions(&branch.pipe, "Thinking") {
        take_tags(around, found);
    }
    thinking_in_list(&branch.list, in_messages, found);
    thinking_in_list(&branch.otherwise, in_messages, found);
}

/// The first and the last text of a list; a list that begins or ends otherwise changes nothing.
fn take_tags<'a>(list: &'a [Node], found: &mut (&'a str, &'a str)) {
    if let Some(Node::Text(text)) = list.first() {
        found.0 = text.trim();
    }
    if let Some(Node::Text(text)) = list.last() {
        found.1 = text.trim();
    }
}

/// Whether a pipeline reads this field of the dot.
fn mentions(pipe: &Pipe, field: &str) -> bool {
    operands(pipe).any(|operand| match &operand.term {
        Term::Field(fields) => fields.first().is_some_and(|name| name == field),
        Term::Pipe(inner) => mentions(inner, field),
        _ => false,
    })
}

/// Returns the list of the first `if` whose condition mentions the field of tool calls directly.
fn tool_call_list(list: &[Node]) -> Option<&[Node]> {
    list.iter().find_map(|node| {
        let branch = match node {
            Node::If(branch) if tests_tool_calls(&branch.pipe) => return Some(&branch.list[..]),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => branch,
            _ => return None,
        };
        tool_call_list(&branch.list).or_else(|| tool_call_list(&branch.otherwise))
    })
}

fn tests_tool_calls(pipe: &Pipe) -> bool {
    operands(pipe).any(|operand| {
        matches!(&operand.term, Term::Field(fields) if fields.iter().any(|name| name == "ToolCalls"))
    })
}

/// The first text that is not blank and comes before any action; `None` when an action is first.
fn first_text(list: &[Node]) -> Option<&str> {
    match first_of(list) {
        Some(First::Text(text)) => Some(text),
        _ => None,
    }
}

enum First<'a> {
    Text(&'a str),
    Action,
}

fn first_of(list: &[Node]) -> Option<First<'_>> {
    list.iter().find_map(|node| match node {
        Node::Text(text) if !text.trim().is_empty() => Some(First::Text(text)),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            first_of(&branch.list).or_else(|| first_of(&branch.otherwise))
        }
        Node::Action(_) => Some(First::Action),
        _ => None,
    })
}
