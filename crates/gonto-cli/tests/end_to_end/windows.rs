//! What only Windows has: cmd, drive letters, a profile folder, and images that are unpacked when they cannot be attached.
//! Wine attaches nothing, so that there every image goes that way.

mod configuration;
mod copies;
mod damaged;
mod drives;
mod folders;
mod killed;
mod mounted;
mod pull;
mod registry;
mod scripts;
mod unpacked;

/// A requirement of the image that the repository has as `tool` 1.0.
const TOOL: &str = "name: tool, version: '1.0', platform: multi";

/// A file of the image, as the example has it.
fn example(path: &str) -> String {
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/pebble/image");
    std::fs::read_to_string(std::path::Path::new(image).join(path)).unwrap()
}
