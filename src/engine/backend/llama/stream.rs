//! A view as a C stream, from which llama.cpp reads a model.

#![expect(unsafe_code, reason = "a stream of C's library")]

use std::ffi::{c_char, c_int, c_void};
use std::io::{Seek as _, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::slice;

use super::numbers::Ggml;
use crate::view::{Reader, View};

/// Bytes of the stream's buffer. The C library reads at most this much at once, so a small buffer costs many
/// calls; each seek refills it, so a large one costs too much.
const BUFFER: usize = 1 << 20;

/// The functions of a custom stream (`fopencookie(3)`).
#[repr(C)]
struct Functions {
    read: unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
    seek: unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int,
    close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
}

unsafe extern "C" {
    fn fopencookie(
        cookie: *mut c_void,
        mode: *const c_char,
        functions: Functions,
    ) -> *mut libc::FILE;
}

type ViewReader<'a> = Reader<'a, std::fs::File, Ggml>;

/// A stream; open as long as this lives.
pub(super) struct Stream<'a> {
    file: NonNull<libc::FILE>,
    cookie: NonNull<ViewReader<'a>>,
    _buffer: Vec<u8>,
}

impl<'a> Stream<'a> {
    /// Opens a view of a file; `None` if there is no memory.
    pub(super) fn open(file: std::fs::File, view: &'a View) -> Option<Self> {
        let cookie = Box::new(Reader::new(file, view, Ggml));
        let cookie = NonNull::from(Box::leak(cookie));
        let functions = Functions {
            read,
            write: None,
            seek,
            close: None,
        };
        // SAFETY: the mode is a C string; the functions take what the cookie is; it lives until the
        // stream is closed (`Drop`).
        let stream = unsafe { fopencookie(cookie.as_ptr().cast(), c"rb".as_ptr(), functions) };
        let Some(stream) = NonNull::new(stream) else {
            // SAFETY: made by `leak` above, and not used elsewhere.
            drop(unsafe { Box::from_raw(cookie.as_ptr()) });
            return None;
        };
        let mut buffer = vec![0; BUFFER];
        // SAFETY: the stream was just opened; the buffer lives until it is closed. If it is refused, the stream
        // uses its own.
        unsafe {
            libc::setvbuf(
                stream.as_ptr(),
                buffer.as_mut_ptr().cast(),
                libc::_IOFBF,
                buffer.len(),
            );
        }
        Some(Self {
            file: stream,
            cookie,
            _buffer: buffer,
        })
    }

    /// The stream, as the bindings call it.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.file.as_ptr().cast()
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // SAFETY: the stream is open and no longer used, since llama.cpp does not keep it after a load. After
        // that the cookie, which `open` made from a box, is no longer used either.
        unsafe {
            libc::fclose(self.file.as_ptr());
            drop(Box::from_raw(self.cookie.as_ptr()));
        }
    }
}

/// Must not unwind into C: a failure becomes an error of the stream, which fails the load.
unsafe extern "C" fn read(cookie: *mut c_void, buffer: *mut c_char, length: usize) -> isize {
    // SAFETY: the cookie is the one of `open`, and a stream is used by one thread at a time.
    let reader = unsafe { &mut *cookie.cast::<ViewReader<'_>>() };
    // SAFETY: the library gives a buffer of that many bytes. The bytes are only written here, by the kernel or
    // by copying, and the library reads only as many as are reported.
    let buffer = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    let result = catch_unwind(AssertUnwindSafe(|| std::io::Read::read(reader, buffer)));
    match result {
        Ok(Ok(count)) => isize::try_from(count).unwrap_or(-1),
        Ok(Err(error)) => {
            tracing::error!("the model's file cannot be read: {error}");
            -1
        }
        Err(_) => -1,
    }
}

unsafe extern "C" fn seek(cookie: *mut c_void, place: *mut i64, whence: c_int) -> c_int {
    // SAFETY: as in `read`; the place is the library's, to be read and written.
    let (reader, place) = unsafe { (&mut *cookie.cast::<ViewReader<'_>>(), &mut *place) };
    let to = match whence {
        libc::SEEK_SET => u64::try_from(*place).map(SeekFrom::Start).ok(),
        libc::SEEK_CUR => Some(SeekFrom::Current(*place)),
        libc::SEEK_END => Some(SeekFrom::End(*place)),
        _ => None,
    };
    let result = to.map(|to| catch_unwind(AssertUnwindSafe(|| reader.seek(to))));
    let Some(Ok(Ok(at))) = result else { return -1 };
    let Ok(at) = i64::try_from(at) else { return -1 };
    *place = at;
    0
}
