#!/usr/bin/env bash
# Gonto's main job on the example in examples/pebble: a compiler inside an NTFS disk image is fetched, mounted, used
# by a build and unmounted. On a fresh Debian or Ubuntu it first installs what building Gonto needs.
#
#   ./demo.sh                 builds gonto and uses it
#   GONTO=PROGRAM ./demo.sh   uses a gonto that is built already
#
# It ends with an error when anything is left mounted or running, or the cached image was changed.
set -euo pipefail
if [ -n "${GONTO:-}" ]; then GONTO=$(realpath "$GONTO"); fi
cd "$(dirname "${BASH_SOURCE[0]}")"
. ci/setup.sh

image=pebble/pebble_v1.0_multi.vhd

main() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    sort /proc/self/mountinfo >"$scratch/mounts"
    [ -n "${GONTO:-}" ] || build_gonto
    choose_folders

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

show_result() {
    [ -x "$1" ] || fail "$1 was not built"
    say "what was built: $1, $(wc -c <"$1") bytes, which runs now without the image"
    "$1" >"$scratch/printed"
    tail -n 1 "$scratch/printed"
}

check_nothing_is_left() {
    # Other programs mount things too: only what is new and ours counts.
    if sort /proc/self/mountinfo | comm -13 "$scratch/mounts" - | grep -E 'gonto|pebble' >&2; then
        fail "something is still mounted"
    fi
    local program
    for program in /proc/[0-9]*/exe; do
        if [ "$(readlink "$program" 2>/dev/null)" = "$(readlink -f "$GONTO")" ]; then
            fail "gonto still runs: ${program%/exe}"
        fi
    done
    say "nothing is mounted and nothing runs any more"

    [ "$(sha256sum <"$example/.cache/$image")" = "$digest" ] || fail "the run changed the cached image"
    cmp "$example/.cache/$image" "$example/repository/$image" || fail "the cached image is not the repository's"
    say "the cached image is the repository's, byte for byte"
}

main "$@"
