//! The tools of EROFS read what is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use gonto_image::{NewContainer, NewImage};

use crate::indexed::{Indexed, check};
use crate::making::{Image, Source, in_folder, usual};
use crate::support::distinct;

/// Runs a tool; `None`, and a word about it, where it is not installed.
fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(tool).args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("skipped: {tool} is not installed");
            None
        }
    }
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What lies in a folder, without what an extraction cannot keep: the permissions of links, and hard links.
fn told(folder: &Path) -> BTreeMap<String, String> {
    let found = in_folder(folder).into_iter();
    found.map(|found| (found.path.clone(), format!("{} {}", found.what, found.modified))).collect()
}

/// Whether the tools took the index at all.
fn judge(source: &Source, image: &Image, indexed: &Indexed) -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let (index, folder) = (scratch.path().join("index"), scratch.path().join("extracted"));
    fs::write(&index, &indexed.bytes).unwrap();
    let (index, device) = (index.to_str().unwrap(), format!("--device={}", image.path().display()));
    let extract = format!("--extract={}", folder.display());
    let Some(checked) = run("fsck.erofs", &[&device, &extract, index]) else { return false };
    if !checked.status.success() {
        let block_size = indexed.written.block_size;
        // Version 1.5 takes blocks of 4096 bytes only; 1.8 none of 1024, and crashes when it checks the checksum of 512.
        assert!(block_size < 4096, "{}", words(&checked));
        eprintln!("skipped: fsck.erofs does not read blocks of {block_size} bytes");
        return false;
    }
    assert_eq!(told(&folder), told(source.path()));
    let Some(dumped) = run("dump.erofs", &["-s", "-S", &device, index]) else { return true };
    let dumped = words(&dumped);
    assert!(dumped.contains("sb_csum mtime chunked_file device_table"), "{dumped}");
    true
}

#[test]
fn the_tools_of_erofs_read_an_index() {
    let source = Source::new();
    for number in 0..3 {
        source.write(format!("large/{number}"), distinct(number, (3 << 20) + 100));
    }
    source.write("small", "small");
    source.write("empty", "");
    for number in 0..300 {
        source.folder(format!("many folders with longer names/number {number}"));
    }
    std::os::unix::fs::symlink("large/0", source.path().join("link")).unwrap();
    let image = source.image(&NewImage { container: NewContainer::FixedVhd, ..usual() });
    let indexed = check(image.bytes());
    assert_eq!(indexed.written.block_size, 4096);
    judge(&source, &image, &indexed);
}

#[test]
fn the_tools_of_erofs_read_small_blocks_where_they_can() {
    let source = Source::new();
    for number in 0..2000 {
        source.write(format!("{}/{number}", number % 7), distinct(number as u64, number));
    }
    let image = source.image(&NewImage { container: NewContainer::DynamicVhd, ..usual() });
    let indexed = check(image.bytes());
    assert_eq!(indexed.written.block_size, 512);
    judge(&source, &image, &indexed);
}
