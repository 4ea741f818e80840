# What ./demo.sh, ./test.sh, ci/python, ci/windows, ci/release and .ci/run need from a machine, as functions to be sourced by them.
#
#   set_up_linker         a C compiler, with which Rust links
#   set_up_rust           the toolchain that rust-toolchain.toml pins
#   set_up_target_folder  a folder that cargo can write to
#   set_up_target TARGET  what rustup has for another target
#   describe_windows      nothing new: tells cargo and Wine how to build for Windows and to run that
#   set_up_python         a Python from 3.11 on, named by $python; fails where there is none
#   set_up_environment    a virtual environment with what the tests of the Python module need, named by $environment
#   set_up_tools WHY COMMAND:PACKAGE...
#                         programs that are useful but not necessary
#
# Each looks first and does nothing when all is there. Only root installs packages of the system (Debian, Ubuntu);
# everybody else is told what is missing. The caller stands in the root of the checkout.
#
# A pipeline does not end in `grep -q`: it stops reading early, and the program before it would fail under pipefail.
# shellcheck shell=bash

say() {
    printf '== %s\n' "$*" >&2
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

is_root() {
    [ "$(id -u)" = 0 ]
}

set_up_linker() {
    # A compiler without the C library's files cannot link: the only proof is to do it.
    if echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null; then return; fi
    install_packages gcc libc6-dev || fail "a C compiler is needed to link; as root: apt-get install gcc libc6-dev"
}

set_up_rust() {
    local channel
    channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    find_rust
    if rust_is_usable "$channel"; then return; fi
    command -v rustup >/dev/null || install_rustup
    say "installing Rust $channel with rustup"
    rustup toolchain install "$channel" --no-self-update --profile minimal --component rustfmt --component clippy >&2
    rust_is_usable "$channel" || fail "cargo does not run; see https://rustup.rs for how to install Rust $channel"
}

# Makes a cargo visible that is installed but not on the PATH. Where the home folder cannot be written, cargo and rustup
# get another place for what they download.
find_rust() {
    if [ ! -w "${HOME:-/nonexistent}" ]; then
        find_private_folder
        : "${CARGO_HOME:=$private_folder/cargo}"
        [ -r "${HOME:-/nonexistent}/.rustup" ] || : "${RUSTUP_HOME:=$private_folder/rustup}"
        export CARGO_HOME ${RUSTUP_HOME:+RUSTUP_HOME}
    fi
    cargo_folder=${CARGO_HOME:-$HOME/.cargo}
    # rustup's cargo goes before one of the distribution, which may be too old.
    if ! command -v rustup >/dev/null && [ -x "$cargo_folder/bin/cargo" ]; then
        export PATH=$cargo_folder/bin:$PATH
    fi
}

# A cargo of the distribution, without rustup, does too when it is not older than the pinned one. rustup is asked what
# it has, since its cargo would download a toolchain without a word.
rust_is_usable() {
    local version
    if command -v rustup >/dev/null && ! rustup toolchain list 2>/dev/null | grep "^$1-" >/dev/null; then return 1; fi
    version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$version" ] && [ "$(printf '%s\n' "$1" "$version" | sort -V | head -n 1)" = "$1" ] &&
        rustc --version >/dev/null 2>&1
}

# The distribution's rustup where there is one, else the official installer (where https://sh.rustup.rs leads). The
# package would replace a cargo of the distribution, which is not ours to remove.
install_rustup() {
    if is_root && ! command -v cargo >/dev/null && refresh_packages &&
        apt-cache policy rustup | grep 'Candidate: [0-9]' >/dev/null; then
        install_packages rustup
        return
    fi
    command -v curl >/dev/null || install_packages curl ca-certificates ||
        fail "curl is needed to install Rust; as root: apt-get install curl ca-certificates"
    say "installing rustup from https://static.rust-lang.org into $cargo_folder"
    # The installer would stop at a cargo that is on the PATH already.
    curl --proto '=https' --tlsv1.2 -sSf https://static.rust-lang.org/rustup/rustup-init.sh |
        RUSTUP_INIT_SKIP_PATH_CHECK=yes sh -s -- -y --no-modify-path --profile minimal --default-toolchain none >&2
    export PATH=$cargo_folder/bin:$PATH
}

# The checkout may belong to somebody else, and so may what was built in it.
set_up_target_folder() {
    if [ -n "${CARGO_TARGET_DIR:-}" ]; then return; fi
    if [ -w target ] && { [ ! -e target/debug ] || [ -w target/debug ]; }; then return; fi
    if [ ! -e target ] && [ -w . ]; then return; fi
    find_private_folder
    export CARGO_TARGET_DIR=$private_folder/target
    say "target/ cannot be written by $(id -un): building in $CARGO_TARGET_DIR"
}

# Without rustup, the distribution's packages have to have brought it.
set_up_target() {
    command -v rustup >/dev/null || return 0
    rustup target list --installed | grep -x "$1" >/dev/null || rustup target add "$1"
}

set_up_python() {
    find_python && return
    # The distribution's own may be too old, and a newer one beside it.
    install_packages python3 python3-venv && find_python && return
    install_packages python3.11 python3.11-venv && find_python
}

# One without a GIL has another ABI.
find_python() {
    local test='import ensurepip, sys, sysconfig, venv
sys.exit(sys.version_info < (3, 11) or bool(sysconfig.get_config_var("Py_GIL_DISABLED")))'
    for python in python3 python3.{15..11}; do
        if "$python" -c "$test" 2>/dev/null; then return; fi
    done
    return 1
}

# It is made anew when another Python comes first, or something else is needed.
set_up_environment() {
    local needed=crates/gonto-python/tests/requirements.txt stamp
    environment=${CARGO_TARGET_DIR:-$PWD/target}/python/environment
    stamp=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)' && sha256sum <"$needed")
    [ "$(cat "$environment/ready" 2>/dev/null)" = "$stamp" ] && "$environment/bin/python" -c '' && return
    say "making a virtual environment for Python in $environment"
    "$python" -m venv --clear "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$needed" ||
        fail "pip cannot install what $needed names"
    printf '%s\n' "$stamp" >"$environment/ready"
}

describe_windows() {
    local folder=${CARGO_TARGET_DIR:-$PWD/target}
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine
    export WINEPREFIX=$folder/wine WINEDEBUG=-all
    # No .NET, no browser, no menu entries: a prefix without them is made faster and asks nothing.
    export WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe="
    unset DISPLAY
}

set_up_tools() {
    local why=$1 tool commands="" packages=()
    shift
    for tool in "$@"; do
        has_command "${tool%%:*}" && continue
        commands+=" ${tool%%:*}"
        packages+=("${tool#*:}")
    done
    [ -n "$commands" ] || return 0
    install_packages "${packages[@]}" || say "missing:$commands (${packages[*]}); $why"
}

# Also where an ordinary user's PATH does not lead.
has_command() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
}

install_packages() {
    is_root && command -v apt-get >/dev/null || return 1
    say "installing $* with apt-get"
    refresh_packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

# Once per script. A source of packages that does not answer is no reason to stop: the others may have what is needed.
refresh_packages() {
    command -v apt-get >/dev/null || return 1
    [ -z "${packages_are_fresh:-}" ] || return 0
    apt-get update -qq </dev/null || say "apt-get update failed; going on with what is known"
    packages_are_fresh=yes
}

# A folder of this user alone that outlives the script: in the cache folder, or where there is none, in /tmp. There
# anybody can have made it first, so whose it is is checked.
find_private_folder() {
    if [ -w "${HOME:-/nonexistent}" ]; then
        private_folder=${XDG_CACHE_HOME:-$HOME/.cache}/gonto-build
        mkdir -p "$private_folder"
        return
    fi
    private_folder=${TMPDIR:-/tmp}/gonto-build-$(id -u)
    mkdir -m 700 "$private_folder" 2>/dev/null || [ -O "$private_folder" ] ||
        fail "$private_folder belongs to somebody else; set HOME to a folder that you can write to"
}
