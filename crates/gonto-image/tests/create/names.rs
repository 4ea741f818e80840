//! Names of files and of volumes.

use gonto_image::{CreateError, NewImage};

use crate::making::{CONTAINERS, Source, usual};

#[test]
fn names_of_all_scripts_and_lengths_are_kept() {
    let source = Source::new();
    let names = [
        "ä",
        "Ünïcode",
        "日本語",
        "😀 emoji",
        "a b",
        ".hidden",
        "UPPER",
        "İ",
        "ı",
        "ß",
        "ſ",
        "ﬀ",
        "e\u{301}",
        "é",
        "~tilde",
        "$dollar",
        "quo'te",
        "%41",
        "+,;=[]{}&^",
        "\u{a0}",
        "\u{e000}",
        "\u{fffd}",
        "ǅ",
        "ÿ",
        "a.b.c",
        "CONx",
        "COM",
        "LPT10",
        "$MFT.txt",
        "-",
        "\u{202e}",
    ];
    for name in names {
        source.write(name, name);
        source.write(format!("folder {name}/{name}"), name);
    }
    // No host has names of more than 255 bytes.
    for length in [1, 2, 254, 255] {
        source.write(format!("lengths/{}", "n".repeat(length)), "");
    }
    source.write(format!("lengths/{}", "😀".repeat(63)), "");
    source.round_trip(&usual());
}

#[test]
fn names_are_sorted_as_ntfs_sorts_them() {
    let source = Source::new();
    // By upper case, in which µ is Μ (U+039C) and ÿ is Ÿ (U+0178); what has no upper case, as İ, stays.
    for name in
        ["_", "a", "B", "c", "Z", "[", "µ", "ÿ", "Ÿa", "İ", "i", "ñ", "Ñb", "~", "{", "\u{ffee}", "😀"]
    {
        source.write(name, "");
    }
    source.round_trip(&usual());
}

#[test]
fn labels_are_kept() {
    let source = Source::new();
    source.write("file", "content");
    for label in ["", "x", "Ünïcode 日本語", "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀", "a/b:*?\"<>|"]
    {
        for container in CONTAINERS {
            let image = source.round_trip(&NewImage { container, label, ..usual() });
            assert_eq!(image.tree().label(), label);
        }
    }
    let label = "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀.";
    let refused = source.try_image(&NewImage { label, ..usual() }).err().unwrap();
    assert!(matches!(refused, CreateError::Label { .. }), "{refused}");
    let refused = source.try_image(&NewImage { label: "a\nb", ..usual() }).err().unwrap();
    assert!(matches!(refused, CreateError::Label { .. }), "{refused}");
}

#[test]
fn free_space_is_as_much_as_was_asked_for() {
    let source = Source::new();
    source.write("file", "content");
    let usually = source.image(&usual()).created.free;
    assert!((64 << 20..66 << 20).contains(&usually), "{usually}");
    for container in CONTAINERS {
        for more_free in [1, 123_456_789, 40 << 30] {
            let image = source.round_trip(&NewImage { container, more_free, ..usual() });
            let least = (64 << 20) + more_free;
            assert!(image.created.free >= least, "{:?}", image.created);
            // The size of a VHD is one that its geometry tells exactly.
            assert!(image.created.free < least + least / 50 + (8 << 20), "{:?}", image.created);
        }
    }
}
