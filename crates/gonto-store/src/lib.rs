//! Repository and cache: an image path becomes a verified, immutable local file.
#![forbid(unsafe_code)]

mod image_path;

pub use image_path::{
    Format, ImagePath, InvalidImagePath, NAME_PATTERN, Platform, VERSION_PATTERN, check_name, check_version,
};
