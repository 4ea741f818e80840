//! The input is an image. Errors are fine; panics, hangs and big allocations are bugs.

#![no_main]

use std::sync::Arc;

use gonto_image::FileTree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|image: &[u8]| {
    if let Err(error) = FileTree::open(Arc::new(image.to_vec())) {
        assert!(!error.to_string().is_empty());
    }
});
