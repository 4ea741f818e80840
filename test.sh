#!/usr/bin/env bash
# Runs all tests, with arguments only those of cargo. On a fresh Debian or Ubuntu it first installs what is missing (ci/setup.sh says how).
#
#   ./test.sh [ARGUMENTS OF cargo test]
#
# A test that cannot run here (no /dev/fuse, no corpus of images) says `skipped: WHY`; the end of the output lists those.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ci/setup.sh

set_up_linker
set_up_rust
set_up_target_folder
set_up_tools "the tests that compare Gonto with them are skipped" \
    mkntfs:ntfs-3g sgdisk:gdisk sfdisk:fdisk qemu-img:qemu-utils fusermount3:fuse3 zstd:zstd wimlib-imagex:wimtools \
    7z:p7zip-full fls:sleuthkit fsntfsinfo:libfsntfs-utils fsck.erofs:erofs-utils
# They are in folders that an ordinary user's PATH lacks.
export PATH=$PATH:/usr/sbin:/sbin

output=$(mktemp)
trap 'rm -f "$output"' EXIT
say "cargo test --workspace $*"
status=0
# --show-output, because cargo keeps what a passing test says to itself, its `skipped: WHY` too.
cargo test --locked --workspace --no-fail-fast "$@" -- --show-output 2>&1 | tee "$output" || status=$?
if [ $# = 0 ]; then
    say "the Python module"
    ci/python 2>&1 | tee -a "$output" || status=$?
fi

grep -o 'skipped: .*' "$output" | sort | uniq -c | sed 's/^ *\([0-9]*\) /== \1 × /' || true
awk '/^test result:/ { passed += $4; failed += $6 }
     END { printf "== tests: %d passed, %d failed\n", passed, failed }' "$output"
exit "$status"
