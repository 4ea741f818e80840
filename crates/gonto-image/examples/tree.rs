//! Opens an image, and tells what that cost: `tree IMAGE`. Used by `benches/tree`.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::fs::{File, read_to_string};
use std::sync::Arc;
use std::time::Instant;

use gonto_image::{FileTree, ImageFile};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: tree IMAGE")?;
    let image = Arc::new(ImageFile::new(File::open(path)?)?);
    let start = Instant::now();
    let tree = FileTree::open(image)?;
    let milliseconds = start.elapsed().as_millis();
    // Linux tells; elsewhere the line is left out.
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or(" unknown");
    println!("{} nodes in {milliseconds} ms, at most {} of memory", tree.len(), peak.trim());
    Ok(())
}
