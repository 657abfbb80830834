//! llama.cpp's RPC backend: devices of other machines, for a model that does not fit into one machine.
//!
//! A build has it as a module if llama.cpp was configured with `GGML_RPC=ON`. It is looked up by name, because
//! no binding has llama.cpp's headers for it. Its protocol has neither keys nor encryption.

#![expect(unsafe_code, reason = "llama.cpp is a C library")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::OnceLock;
use std::time::Duration;

use llama_cpp_2::LlamaBackendDeviceType;
use llama_cpp_sys_2 as sys;

use super::devices;

/// How long a server may take to accept a connection; otherwise it is not used.
const PATIENCE: Duration = Duration::from_secs(3);

/// The advice if the module is missing.
const NOT_BUILT: &str = "this build has no RPC back end: `packaging/build-release --rpc` makes one";

/// `ggml_backend_rpc_add_server`: the endpoint.
type AddServer = unsafe extern "C" fn(*const c_char) -> sys::ggml_backend_reg_t;

/// `ggml_backend_rpc_start_server`: the endpoint, the folder of a cache, threads, and devices with their number.
type StartServer =
    unsafe extern "C" fn(*const c_char, *const c_char, usize, usize, *mut sys::ggml_backend_dev_t);

static SERVERS: OnceLock<Vec<String>> = OnceLock::new();

/// Sets the servers (`HOST:PORT`) whose devices this process uses. Has no effect after llama.cpp has started.
pub(crate) fn use_servers(endpoints: Vec<String>) {
    // Set once: they come from the process's environment.
    let _ = SERVERS.set(endpoints);
}

/// Adds the devices of all servers that answer.
pub(super) fn add_servers() {
    for endpoint in SERVERS.get().into_iter().flatten() {
        match add_server(endpoint) {
            Ok(()) => tracing::debug!(endpoint, "an RPC server's devices were added"),
            Err(reason) => tracing::warn!(endpoint, "an RPC server cannot be used: {reason}"),
        }
    }
}

fn add_server(endpoint: &str) -> Result<(), String> {
    let add = function(c"ggml_backend_rpc_add_server").ok_or(NOT_BUILT)?;
    // llama.cpp waits for as long as the system does, and ends the process on some failures.
    reach(endpoint)?;
    let endpoint = CString::new(endpoint).map_err(|error| error.to_string())?;
    // SAFETY: the module returns a function of this type by this name.
    let add = unsafe { std::mem::transmute::<*mut c_void, AddServer>(add) };
    // SAFETY: the text is null-terminated, and the function copies it.
    let server = unsafe { add(endpoint.as_ptr()) };
    if server.is_null() {
        return Err("it has no devices, or another version of llama.cpp".to_owned());
    }
    // SAFETY: a valid registration, which is never freed.
    unsafe { sys::ggml_backend_register(server) };
    Ok(())
}

/// Connects and says hello as llama.cpp does. It ends the process when a server answers with something else, and waits
/// forever for one that has another client.
fn reach(endpoint: &str) -> Result<(), String> {
    let addresses = endpoint.to_socket_addrs();
    let mut error = "the name has no address".to_owned();
    for address in addresses.map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(server) => return greet(server),
            Err(failed) => error = failed.to_string(),
        }
    }
    Err(error)
}

/// `RPC_CMD_HELLO` of `ggml-rpc.cpp`: the command in one byte, the size of the request in eight, little-endian, and as
/// the request the abilities of the connection, here none. The answer has its size, the version in four bytes, and the
/// server's abilities.
fn greet(mut server: TcpStream) -> Result<(), String> {
    const HELLO: u8 = 14;
    const N_ABILITIES: usize = 24;
    const N_ANSWER: u64 = 4 + N_ABILITIES as u64;
    let mut hello = [0; 1 + 8 + N_ABILITIES];
    hello[0] = HELLO;
    hello[1..9].copy_from_slice(&(N_ABILITIES as u64).to_le_bytes());
    let mut size = [0; 8];
    let greeted = server
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| server.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| server.write_all(&hello))
        .and_then(|()| server.read_exact(&mut size));
    match greeted {
        Ok(()) if u64::from_le_bytes(size) == N_ANSWER => Ok(()),
        Ok(()) => Err("it is no RPC server, or one of another version of llama.cpp".to_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err("it does not answer; a server has one client at a time".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Serves this machine's GPUs, or without one its CPU, to drover and llama.cpp on other machines. Returns only
/// if that is not possible.
///
/// # Errors
/// Why it is not.
pub(crate) fn serve(endpoint: &str, n_threads: usize) -> Result<(), String> {
    devices::start().map_err(|error| error.to_string())?;
    let start = function(c"ggml_backend_rpc_start_server").ok_or(NOT_BUILT)?;
    let endpoint = CString::new(endpoint).map_err(|error| error.to_string())?;
    let known = llama_cpp_2::list_llama_ggml_backend_devices();
    let of_cpu = |is_cpu: bool| {
        let of_kind = known.iter().filter(move |device| {
            (device.device_type == LlamaBackendDeviceType::Cpu) == is_cpu
                && device.device_type != LlamaBackendDeviceType::Accelerator
        });
        // SAFETY: the index is that of a device that exists.
        of_kind.map(|device| unsafe { sys::ggml_backend_dev_get(device.index) })
    };
    let mut devices: Vec<_> = of_cpu(false).collect();
    if devices.is_empty() {
        devices = of_cpu(true).collect();
    }
    // SAFETY: the module returns a function of this type by this name.
    let start = unsafe { std::mem::transmute::<*mut c_void, StartServer>(start) };
    // SAFETY: the text is null-terminated, and the list has the given number of devices; both outlive the call.
    unsafe {
        start(
            endpoint.as_ptr(),
            std::ptr::null(),
            n_threads,
            devices.len(),
            devices.as_mut_ptr(),
        );
    }
    Err("the server could not listen at that address".to_owned())
}

/// A function of the module.
fn function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the text is null-terminated.
    let module = unsafe { sys::ggml_backend_reg_by_name(c"RPC".as_ptr()) };
    if module.is_null() {
        return None;
    }
    // SAFETY: the module is valid, and the text is null-terminated.
    let function = unsafe { sys::ggml_backend_reg_get_proc_address(module, name.as_ptr()) };
    (!function.is_null()).then_some(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says this to whoever connects, and then hears them out.
    fn server(answer: &'static [u8]) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.write_all(answer).unwrap();
            std::io::copy(&mut client, &mut std::io::sink()).unwrap();
        });
        address
    }

    #[test]
    fn only_a_server_that_says_hello_is_used() {
        let hello: &[u8] = b"\x1c\0\0\0\0\0\0\0";
        assert_eq!(reach(&server(hello)), Ok(()));
        assert!(reach(&server(b"HTTP/1.1 400 Bad Request")).is_err());
        assert!(reach("no port").is_err());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert!(reach(&address).is_err(), "nobody listens");
    }

    #[test]
    fn a_server_that_has_another_client_is_left_out() {
        // The system accepts the connection, and nobody answers.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = reach(&listener.local_addr().unwrap().to_string());
        assert!(refused.unwrap_err().contains("one client at a time"));
    }
}
