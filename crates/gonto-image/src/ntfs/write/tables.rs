//! `$AttrDef`: which attributes there are, as every NTFS volume tells it.

use crate::ntfs::attribute::kind;

struct Definition {
    name: &'static str,
    kind: u32,
    /// 2: a key of an index; 0x40: always resident; 0x80: may lie in clusters.
    flags: u32,
    /// Sizes in bytes; the biggest is -1 where there is no limit.
    smallest: i64,
    biggest: i64,
}

const fn define(name: &'static str, kind: u32, flags: u32, smallest: i64, biggest: i64) -> Definition {
    Definition { name, kind, flags, smallest, biggest }
}

const DEFINITIONS: [Definition; 15] = [
    define("$STANDARD_INFORMATION", kind::STANDARD_INFORMATION, 0x40, 48, 72),
    define("$ATTRIBUTE_LIST", kind::ATTRIBUTE_LIST, 0x80, 0, -1),
    define("$FILE_NAME", kind::FILE_NAME, 0x42, 68, 578),
    define("$OBJECT_ID", 0x40, 0x40, 0, 256),
    define("$SECURITY_DESCRIPTOR", 0x50, 0x80, 0, -1),
    define("$VOLUME_NAME", kind::VOLUME_NAME, 0x40, 2, 256),
    define("$VOLUME_INFORMATION", kind::VOLUME_INFORMATION, 0x40, 12, 12),
    define("$DATA", kind::DATA, 0, 0, -1),
    define("$INDEX_ROOT", kind::INDEX_ROOT, 0x40, 0, -1),
    define("$INDEX_ALLOCATION", kind::INDEX_ALLOCATION, 0x80, 0, -1),
    define("$BITMAP", kind::BITMAP, 0x80, 0, -1),
    define("$REPARSE_POINT", kind::REPARSE_POINT, 0x80, 0, 16 << 10),
    define("$EA_INFORMATION", kind::EXTENDED_ATTRIBUTE_INFORMATION, 0x40, 8, 8),
    define("$EA", kind::EXTENDED_ATTRIBUTES, 0, 0, 64 << 10),
    define("$LOGGED_UTILITY_STREAM", 0x100, 0x80, 0, 64 << 10),
];

/// A name of 64 UTF-16 units; type, display rule, collation rule, flags; two sizes.
const DEFINITION_SIZE: usize = 160;

/// The content of `$AttrDef`. An empty definition ends it.
pub(crate) fn attribute_definitions() -> Vec<u8> {
    let mut table = Vec::with_capacity((DEFINITIONS.len() + 1) * DEFINITION_SIZE);
    for definition in &DEFINITIONS {
        let end = table.len() + DEFINITION_SIZE;
        table.extend(definition.name.encode_utf16().flat_map(u16::to_le_bytes));
        table.resize(end - 32, 0);
        for number in [definition.kind, 0, 0, definition.flags] {
            table.extend(number.to_le_bytes());
        }
        table.extend(definition.smallest.to_le_bytes());
        table.extend(definition.biggest.to_le_bytes());
    }
    table.resize(table.len() + DEFINITION_SIZE, 0);
    table
}
