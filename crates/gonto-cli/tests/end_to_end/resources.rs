//! What Windows reads in the program before it starts it.

use std::fs;

use object::LittleEndian;
use object::pe::{RT_MANIFEST, RT_VERSION};
use object::read::pe::PeFile64;

/// The only resource of a type, of the program that was built.
fn resource(kind: u16) -> Vec<u8> {
    let program = fs::read(env!("CARGO_BIN_EXE_gonto")).unwrap();
    let file = PeFile64::parse(&*program).unwrap();
    let sections = file.section_table();
    let resources = file.data_directories().resource_directory(&*program, &sections).unwrap();
    let resources = resources.expect("the program has no resources");
    let types = resources.root().unwrap().entries;
    let of_type = types.iter().find(|entry| entry.name_or_id().id() == Some(kind)).unwrap();
    let [name] = of_type.data(resources).unwrap().table().unwrap().entries else {
        panic!("several resources of type {kind}")
    };
    let [language] = name.data(resources).unwrap().table().unwrap().entries else {
        panic!("a resource of type {kind} in several languages")
    };
    let found = language.data(resources).unwrap().data().unwrap();
    let size = usize::try_from(found.size.get(LittleEndian)).unwrap();
    sections.pe_data_at(&*program, found.offset_to_data.get(LittleEndian)).unwrap()[..size].to_vec()
}

#[test]
fn the_program_has_the_version_of_its_package() {
    let found = resource(RT_VERSION);
    let text = String::from_utf16_lossy(
        &found.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect::<Vec<_>>(),
    );
    for (name, value) in [
        ("ProductName", "Gonto"),
        ("ProductVersion", env!("CARGO_PKG_VERSION")),
        ("FileVersion", env!("CARGO_PKG_VERSION")),
        ("FileDescription", env!("CARGO_PKG_DESCRIPTION")),
        ("OriginalFilename", "gonto.exe"),
    ] {
        let after = text.split_once(&format!("{name}\0")).unwrap_or_else(|| panic!("no {name}: {text:?}")).1;
        assert_eq!(after.trim_start_matches('\0').split('\0').next().unwrap(), value, "{name}");
    }
    // VS_FIXEDFILEINFO: signature, its own version, then the two halves of the file's.
    let fixed = found.windows(4).position(|bytes| bytes == 0xfeef_04bd_u32.to_le_bytes()).unwrap();
    let number = |at: usize| u16::from_le_bytes([found[fixed + at], found[fixed + at + 1]]);
    let version = [number(10), number(8), number(14), number(12)].map(|part| part.to_string());
    assert_eq!(version[..3].join("."), env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_manifest_is_that_of_the_sources() {
    let manifest = String::from_utf8(resource(RT_MANIFEST)).unwrap();
    let written = include_str!("../../gonto.exe.manifest");
    assert_eq!(manifest.replace("\r\n", "\n"), written.replace("\r\n", "\n"));
    // An XML declaration that does not come first keeps Windows from starting the program at all.
    assert!(manifest.starts_with("<?xml"), "{manifest}");
    for wanted in ["level=\"asInvoker\"", ">true</longPathAware>", "{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"] {
        assert!(manifest.contains(wanted), "{wanted}");
    }
}
