//! Gives `gonto.exe` its version information and its manifest. For other systems there is nothing to do.

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={MANIFEST}");
    // Set for the system that is built for, which need not be the one that builds.
    if std::env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return Ok(());
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(MANIFEST);
    // Both versions are that of Cargo.toml.
    winresource::WindowsResource::new()
        .set("ProductName", "Gonto")
        .set("FileDescription", env!("CARGO_PKG_DESCRIPTION"))
        .set("OriginalFilename", "gonto.exe")
        .set("LegalCopyright", "The Gonto developers. MIT or Apache-2.0, as you like")
        .set_manifest_file(&manifest.display().to_string())
        .compile_for("gonto")
}

const MANIFEST: &str = "gonto.exe.manifest";
