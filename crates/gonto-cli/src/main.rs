//! The program `gonto`.
#![forbid(unsafe_code)]
fn main() {}
