#!/usr/bin/env bash
# Gonto's main job, twice, with real compilers in NTFS disk images that are fetched, mounted, used by a build and unmounted:
#
# 1. an image that others made, in examples/pebble;
# 2. an image of the Rust toolchain of this machine, which `gonto create` makes first.
#
# On a fresh Debian or Ubuntu it first installs what building Gonto needs.
#
#   ./demo.sh                 builds gonto and uses it
#   GONTO=PROGRAM ./demo.sh   uses a gonto that is built already
#   TOOLCHAIN=FOLDER          the Rust toolchain; what `rustc --print sysroot` tells when not set
#
# It ends with an error when anything is left mounted or running, or a cached image was changed.
set -euo pipefail
if [ -n "${GONTO:-}" ]; then GONTO=$(realpath "$GONTO"); fi
cd "$(dirname "${BASH_SOURCE[0]}")"
. ci/setup.sh

main() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch" "${workshop:-$scratch}"' EXIT
    sort /proc/self/mountinfo >"$scratch/mounts"
    [ -n "${GONTO:-}" ] || build_gonto
    choose_folders

    use_an_image_of_others
    check_nothing_is_left

    make_an_image_and_use_it
    check_nothing_is_left
    say "the demo succeeded"
}

build_gonto() {
    set_up_linker
    set_up_rust
    set_up_target_folder
    say "building gonto (the first time takes a minute or two)"
    cargo build --locked --quiet --package gonto-cli
    GONTO=${CARGO_TARGET_DIR:-$PWD/target}/debug/gonto
}

# Everything is written below the example, and below the user's state folder. Where this user cannot write there, a
# copy and a temporary folder do.
choose_folders() {
    example=examples/pebble
    if ! can_write $example || ! can_write $example/.cache || ! can_write $example/build; then
        mkdir "$scratch/example"
        cp -R $example/gonto.yaml $example/src $example/repository "$scratch/example"
        example=$scratch/example
    fi
    rm -rf "$example/build" "$example/.cache"
    if ! is_root && [ ! -w "${XDG_STATE_HOME:-${HOME:-/nonexistent}}" ]; then
        export XDG_STATE_HOME=$scratch/state
        mkdir "$XDG_STATE_HOME"
    fi
}

can_write() {
    [ ! -e "$1" ] || [ -w "$1" ]
}

use_an_image_of_others() {
    image=pebble/pebble_v1.0_multi.vhd
    say "gonto -C $example list"
    "$GONTO" -C "$example" list

    say "gonto -C $example run build"
    "$GONTO" -C "$example" run build
    show_result "$example/build/mandelbrot"

    digest=$(sha256sum <"$example/.cache/$image")
    say "gonto -C $example run build, once more: the image is in the cache now"
    "$GONTO" -C "$example" run build >/dev/null
    say "gonto -C $example run test"
    "$GONTO" -C "$example" run test
    check_image
}

make_an_image_and_use_it() {
    local toolchain version
    toolchain=${TOOLCHAIN:-$(rustc --print sysroot 2>/dev/null || true)}
    if [ ! -x "$toolchain/bin/rustc" ] || ! has_command cc; then
        say "skipped: no Rust toolchain that $(id -un) can read, and with it a C linker, was found to make an image of"
        return
    fi
    version=$("$toolchain/bin/rustc" --version | cut -d ' ' -f 2)
    image=rust/rust_v${version}_linux64.vhd
    # The image is big: beside what was built there is room for it, in /tmp perhaps not.
    workshop=$(mktemp -d "${CARGO_TARGET_DIR:-target}/demo-XXXXXX" 2>/dev/null || mktemp -d)
    example=$workshop
    cp -R examples/rust/src "$example"
    sed "s/version: .*/version: \"$version\"/" examples/rust/gonto.yaml >"$example/gonto.yaml"
    mkdir -p "$example/repository/rust"

    say "gonto create: an image of $toolchain"
    "$GONTO" create --label "Rust $version" --exclude share/doc/ "$toolchain" "$example/repository/$image"
    say "gonto -C $example run build: rustc runs from the image"
    "$GONTO" -C "$example" run build
    show_result "$example/build/primes"
    digest=$(sha256sum <"$example/repository/$image")
    check_image
}

show_result() {
    [ -x "$1" ] || fail "$1 was not built"
    say "what was built: $1, $(wc -c <"$1") bytes, which runs now without the image"
    "$1" >"$scratch/printed"
    tail -n 1 "$scratch/printed"
}

check_image() {
    [ "$(sha256sum <"$example/.cache/$image")" = "$digest" ] || fail "the run changed the cached image"
    cmp "$example/.cache/$image" "$example/repository/$image" || fail "the cached image is not the repository's"
    say "the cached image is the repository's, byte for byte"
}

check_nothing_is_left() {
    # Other programs mount things too: only what is new and ours counts.
    if sort /proc/self/mountinfo | comm -13 "$scratch/mounts" - | grep -E 'gonto|pebble|rust_v' >&2; then
        fail "something is still mounted"
    fi
    local program
    for program in /proc/[0-9]*/exe; do
        if [ "$(readlink "$program" 2>/dev/null)" = "$(readlink -f "$GONTO")" ]; then
            fail "gonto still runs: ${program%/exe}"
        fi
    done
    say "nothing is mounted and nothing runs any more"
}

main "$@"
