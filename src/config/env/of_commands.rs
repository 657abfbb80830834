//! The table of variables that the commands read ([`crate::config::ClientConfig`]).

use super::Variable;

pub const HOST: Variable = Variable {
    name: "OLLAMA_HOST",
    default: "127.0.0.1:11434",
    doc: "Where the server listens or is looked for",
};

pub const KEY: Variable = Variable {
    name: "OLLAMA_API_KEY",
    default: "",
    doc: "Key for the server, if it wants one",
};

pub const EDITOR: Variable = Variable {
    name: "OLLAMA_EDITOR",
    default: "",
    doc: "Path to editor for interactive prompt editing (Ctrl+G)",
};

pub const NO_HISTORY: Variable = Variable {
    name: "OLLAMA_NOHISTORY",
    default: "",
    doc: "Do not preserve readline history",
};

pub const NO_COLOR: Variable = Variable {
    name: "NO_COLOR",
    default: "",
    doc: "Write without colours",
};

pub const OPENAI_KEY: Variable = Variable {
    name: "OPENAI_API_KEY",
    default: "",
    doc: "Key for the server that --host names",
};

pub const OPENAI_BASE: Variable = Variable {
    name: "OPENAI_BASE_URL",
    default: "https://api.openai.com/v1",
    doc: "Address that --host openai means",
};

/// All of these variables.
pub const ALL: &[Variable] = &[
    HOST,
    KEY,
    EDITOR,
    NO_HISTORY,
    NO_COLOR,
    OPENAI_KEY,
    OPENAI_BASE,
];
