//! llama.cpp's log: written to stderr in the form that the daemon reads, and searched for errors and progress.
//!
//! A line is a level letter, a space and the text. llama.cpp's info lines, over a hundred per load, are written
//! as `D`; its own debug lines are dropped. Error lines are kept, because llama.cpp's calls only say *that*
//! they failed.

#![expect(
    unsafe_code,
    reason = "llama.cpp hands its log to a C function pointer"
)]

use std::ffi::{CStr, c_char, c_void};
use std::io::Write;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use llama_cpp_sys_2 as sys;

/// Most error lines that are kept; the first ones of a failure say most.
const MAX_ERRORS: usize = 8;

static STATE: Mutex<State> = Mutex::new(State::new());

/// A callback for progress as fractions between 0 and 1.
type Listener = Box<dyn Fn(f32) + Send>;

struct State {
    /// The callback for the quantizer's progress.
    listener: Option<Listener>,
    /// A line that has not ended yet, and its level.
    line: String,
    level: sys::ggml_log_level,
    errors: Vec<String>,
}

/// Sends llama.cpp's log through here from now on.
pub(super) fn install() {
    // SAFETY: the callback matches the type, keeps no pointer and is valid for the whole run.
    unsafe {
        sys::llama_log_set(Some(on_log), std::ptr::null_mut());
        sys::mtmd_log_set(Some(on_log), std::ptr::null_mut());
    };
}

/// Forgets earlier errors.
pub(super) fn start() {
    lock().errors.clear();
}

/// Sets the listener for the quantizer's progress; `None` = no listener.
pub(super) fn follow(listener: Option<Listener>) {
    lock().listener = listener;
}

/// What llama.cpp said about a failure since `start`, if anything.
pub(super) fn cause() -> Option<String> {
    let state = lock();
    let bare = |line: &&String| !line.ends_with("failed to load model");
    let line = state.errors.iter().rev().find(bare);
    line.or_else(|| state.errors.last()).cloned()
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// # Safety
///
/// `text` is null or a string that is valid during the call.
unsafe extern "C" fn on_log(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: not null, and a valid string by this function's contract.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    for line in lock().append(level, &text) {
        // A closed stderr is no reason to stop computing.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl State {
    const fn new() -> Self {
        Self {
            listener: None,
            line: String::new(),
            level: sys::GGML_LOG_LEVEL_NONE,
            errors: Vec::new(),
        }
    }

    /// Adds a piece of the log; returns the lines that are now complete, in the output form.
    fn append(&mut self, level: sys::ggml_log_level, text: &str) -> Vec<String> {
        // The quantizer's lines come in pieces that are not marked as continued.
        if let (Some(listener), Some(fraction)) = (&self.listener, fraction(text)) {
            listener(fraction);
        }
        if level != sys::GGML_LOG_LEVEL_CONT {
            self.level = level;
            self.line.clear();
        }
        self.line.push_str(text);
        let mut out = Vec::new();
        while let Some(end) = self.line.find('\n') {
            let rest = self.line.split_off(end + 1);
            let line = mem::replace(&mut self.line, rest);
            out.extend(self.finish(line.trim_end()));
        }
        out
    }

    fn finish(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            return None;
        }
        let is_error = self.level == sys::GGML_LOG_LEVEL_ERROR && !is_interruption(line);
        if is_error && self.errors.len() < MAX_ERRORS {
            self.errors.push(without_function(line).to_owned());
        }
        let letter = match self.level {
            sys::GGML_LOG_LEVEL_ERROR if is_error => 'E',
            // The pool of all slots is meant to be larger than what the model was trained with.
            sys::GGML_LOG_LEVEL_WARN if line.contains("n_ctx_seq (") => 'D',
            sys::GGML_LOG_LEVEL_WARN => 'W',
            sys::GGML_LOG_LEVEL_DEBUG => return None,
            _ => 'D',
        };
        Some(format!("{letter} {line}\n"))
    }
}

/// Whether an error line is only the interruption that was asked for: `GGML_STATUS_ABORTED` is 1, and
/// `llama_decode` returns 2 for it.
fn is_interruption(line: &str) -> bool {
    let ends = ["failed with error 1", "compute status: 1", "ret = 2"];
    ends.iter().any(|end| line.ends_with(end))
}

/// Drops the name of the C++ function that most lines begin with.
fn without_function(line: &str) -> &str {
    match line.split_once(": ") {
        Some((name, text)) if !name.contains(' ') => text.trim_start(),
        _ => line,
    }
}

/// Reads the head of `[  12/ 272]   blk.0.attn_k.weight - [ 576, 192], type = …`.
fn fraction(line: &str) -> Option<f32> {
    let (count, _) = line.strip_prefix('[')?.split_once(']')?;
    let (done, total) = count.split_once('/')?;
    let [done, total]: [f32; 2] = [done.trim().parse().ok()?, total.trim().parse().ok()?];
    (total > 0.0).then(|| (done / total).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_whole_lines_with_a_level() {
        let mut state = State::new();
        assert!(
            state
                .append(sys::GGML_LOG_LEVEL_INFO, "loading ")
                .is_empty()
        );
        let lines = state.append(sys::GGML_LOG_LEVEL_CONT, "...\n");
        assert_eq!(lines, ["D loading ...\n"]);
        let pool = "llama_context: n_ctx_seq (11520) > n_ctx_train (8192) -- possible training context overflow\n";
        let lines = state.append(sys::GGML_LOG_LEVEL_WARN, pool);
        assert_eq!(lines, [format!("D {pool}")]);
        let lines = state.append(sys::GGML_LOG_LEVEL_WARN, "one\ntwo\n");
        assert_eq!(lines, ["W one\n", "W two\n"]);
        assert!(
            state
                .append(sys::GGML_LOG_LEVEL_DEBUG, "noise\n")
                .is_empty()
        );
    }

    #[test]
    fn errors_are_kept_without_the_function_name() {
        let mut state = State::new();
        state.append(
            sys::GGML_LOG_LEVEL_ERROR,
            "llama_model_load: error loading model: tensor 'x' not found\n",
        );
        assert_eq!(state.errors, ["error loading model: tensor 'x' not found"]);
    }

    #[test]
    fn what_was_asked_for_is_no_error() {
        let mut state = State::new();
        let lines = [
            "graph_compute: ggml_backend_sched_graph_compute_async failed with error 1\n",
            "process_ubatch: failed to compute graph, compute status: 1\n",
            "llama_decode: failed to decode, ret = 2\n",
        ];
        for line in lines {
            let told = state.append(sys::GGML_LOG_LEVEL_ERROR, line);
            assert_eq!(told, [format!("D {line}")]);
        }
        assert!(state.errors.is_empty());
        let failed = "process_ubatch: failed to compute graph, compute status: -1\n";
        let told = state.append(sys::GGML_LOG_LEVEL_ERROR, failed);
        assert_eq!(told, [format!("E {failed}")]);
    }

    #[test]
    fn the_quantizers_lines_say_how_far_it_is() {
        let line = "[  68/ 272]                  blk.7.attn_k.weight - [  576,   192,     1,     1], type =    f16, converting to q8_0 ..";
        assert_eq!(fraction(line), Some(0.25));
        assert_eq!(fraction("[abc] 1/2"), None);
    }
}
