# Shared by the scripts that build drover: where things are kept, which programs are needed.
# Sourced, not run. Callers have set `set -euo pipefail`.

# One cache outside the checkout: a fresh clone compiles llama.cpp only once per machine.
DROVER_CACHE=${DROVER_CACHE:-${HOME:?}/.cache/drover}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$DROVER_CACHE/target}
export DROVER_TEST_MODELS=${DROVER_TEST_MODELS:-$DROVER_CACHE/models}
# Rust may have been installed for this user without a new login.
PATH=$PATH:$HOME/.cargo/bin
mkdir -p "$DROVER_CACHE"

has() { command -v "$1" >/dev/null 2>&1; }

# What bindgen needs: the library, which has no program of its own, and clang's own headers.
has_libclang() {
    [[ -n ${LIBCLANG_PATH:-} ]] && return
    if ! has apt-get; then
        ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so'
        return
    fi
    compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null &&
        compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null
}

# install_packages PACKAGE...: with apt when that is possible, else says what to type.
install_packages() {
    if ! has apt-get; then
        echo "Please install what Debian calls: $*" >&2
        return 1
    fi
    if ((EUID)); then
        echo "Please run:  sudo apt-get install $*" >&2
        return 1
    fi
    echo "installing $*" >&2
    # Two attempts: a fresh machine has no package lists yet, a stale one has old ones.
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@" \
        </dev/null >"$DROVER_CACHE/apt.log" 2>&1 && return
    apt-get update </dev/null >"$DROVER_CACHE/apt.log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@" \
            </dev/null >>"$DROVER_CACHE/apt.log" 2>&1 && return
    tail -n 20 "$DROVER_CACHE/apt.log" >&2
    return 1
}

# What compiling drover with llama.cpp and fetching the models needs.
install_build_tools() {
    local missing=()
    has cmake || missing+=(cmake)
    has make || missing+=(make)
    has g++ || missing+=(g++)
    has curl || missing+=(curl ca-certificates)
    has_libclang || missing+=(libclang-dev)
    has python3 || missing+=(python3)
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    # Without ensurepip a virtual environment has no pip.
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
    has cargo || {
        echo "Please install Rust 1.95 or newer first: https://rustup.rs" >&2
        return 1
    }
}
