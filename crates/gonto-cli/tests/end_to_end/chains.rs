//! Images that are children of others: what they do not hold themselves is in another file of the cache.

use std::fs;
use std::path::Path;

use crate::support::{Caller, Project, callers_by_roads, example};

const BOTH: &str = "
  - {name: tool, version: '1.0', platform: multi, env: {PARENT: '{{mount_point}}'}}
  - {name: tool, version: '2.0', platform: multi, env: {CHILD: '{{mount_point}}'}}";
const CHILD: &str = "{name: tool, version: '2.0', platform: multi}";

const TEXT: &str = "# Fractions without a floating-point unit";
const CHANGED: &str = "# Fractions with three floating-point un-";

#[test]
fn a_child_shows_its_own_sectors_and_those_of_its_parent() {
    for caller in Caller::all() {
        let script = "cat \"${PARENT}library/fixed.peb\" >before; cat \"${CHILD}library/fixed.peb\" >after; \
                      cp -R \"${CHILD}compiler\" compiler";
        let project = Project::of(caller, &format!("build:\n  requires:{BOTH}\n  script: '{script}'"));
        project.publish("tool", "2.0", &child_of_the_example(&project));
        project.gonto(&["run", "build"]).run().ends_with(0).prints("");
        let before = fs::read_to_string(example().join("image/library/fixed.peb")).unwrap();
        assert!(before.contains(TEXT));
        assert_eq!(project.read("project/before"), before, "{caller:?}");
        assert_eq!(project.read("project/after"), before.replace(TEXT, CHANGED), "{caller:?}");
        for file in fs::read_dir(example().join("image/compiler")).unwrap().map(Result::unwrap) {
            let copy = project.path("project/compiler").join(file.file_name());
            assert!(fs::read(copy).unwrap() == fs::read(file.path()).unwrap(), "{caller:?}: {file:?}");
        }
        project.assert_clean();
    }
}

/// The server in the background lets go of all files but those that it needs.
#[test]
fn a_child_stays_readable_when_gonto_has_ended() {
    for caller in callers_by_roads() {
        if !(caller.is_root() || Path::new("/usr/bin/fusermount3").exists()) || caller == Caller::Ordinary {
            // Nobody else may look into the mount of an ordinary user; what differs is tested above.
            continue;
        }
        let project = Project::of(caller, &format!("build:\n  requires:{BOTH}\n  script: x"));
        project.publish("tool", "2.0", &child_of_the_example(&project));
        project.gonto(&["mount", "build"]).run().ends_with(0);
        let seen = project.read("state/mnt/tool_v2.0_multi/library/fixed.peb");
        let before = project.read("state/mnt/tool_v1.0_multi/library/fixed.peb");
        assert_eq!(seen, before.replace(TEXT, CHANGED));
        project.gonto(&["umount", "build"]).run().ends_with(0);
        project.assert_clean();
    }
}

#[test]
fn a_child_without_its_parent_is_refused_with_the_name_that_is_missing() {
    let project = Project::of(Caller::Current, &format!("build: {{requires: [{CHILD}], script: x}}"));
    project.publish("tool", "2.0", &child_of_the_example(&project));
    let output = project.gonto(&["run", "build"]).run().ends_with(1).prints("");
    let output = output.mentions("the image is differencing, and its parent");
    output.mentions("beside it tool_v1.0_multi.vhd (none there); put the parent beside the image");
    project.assert_clean();
}

/// A differencing VHD of the example's image in which one text is another one.
fn child_of_the_example(project: &Project) -> Vec<u8> {
    child_of(&fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap())
}

/// The same for the bytes of that image. The child calls its parent `tool_v1.0_multi.vhd`.
pub(crate) fn child_of(parent: &[u8]) -> Vec<u8> {
    let text_at = parent.windows(TEXT.len()).position(|bytes| bytes == TEXT.as_bytes()).unwrap();
    let (header_at, table_at, own_block) = (512, 1536, 2048);
    // The block of the parent that the text is in: its data lies behind a bitmap of one sector.
    let entry = |number: usize| {
        let bytes: [u8; 4] = parent[table_at + number * 4..][..4].try_into().unwrap();
        u32::from_be_bytes(bytes) as usize
    };
    let size = 2 << 20;
    let number = (0..3).find(|number| {
        let data = (entry(*number) + 1) * 512;
        entry(*number) != u32::MAX as usize && (data..data + size).contains(&text_at)
    });
    let number = number.unwrap();
    let parent_data = (entry(number) + 1) * 512;
    let (first, last) = ((text_at - parent_data) / 512, (text_at + TEXT.len() - parent_data) / 512);

    let mut child = parent[..own_block].to_vec();
    child[table_at..own_block].fill(0xff);
    let sector = u32::try_from(own_block / 512).unwrap();
    child[table_at + number * 4..][..4].copy_from_slice(&sector.to_be_bytes());
    let mut bitmap = [0; 512];
    let mut data = vec![0; size];
    for sector in first..=last {
        bitmap[sector / 8] |= 0x80 >> (sector % 8);
        data[sector * 512..][..512].copy_from_slice(&parent[parent_data + sector * 512..][..512]);
    }
    data[text_at - parent_data..][..TEXT.len()].copy_from_slice(CHANGED.as_bytes());
    child.extend(bitmap);
    child.extend(data);

    let unique_id_at = 68;
    let header = &mut child[header_at..header_at + 1024];
    header[40..56].copy_from_slice(&parent[unique_id_at..unique_id_at + 16]);
    for (unit, at) in "tool_v1.0_multi.vhd".encode_utf16().zip((64..).step_by(2)) {
        header[at..at + 2].copy_from_slice(&unit.to_be_bytes());
    }
    seal(header, 36);
    let footer = &mut child[..512];
    footer[60..64].copy_from_slice(&4u32.to_be_bytes());
    footer[unique_id_at] ^= 0xff;
    seal(footer, 64);
    child.extend_from_within(..512);
    child
}

/// Has a child name its parent in one more way.
pub(crate) fn add_locator(child: &mut Vec<u8>, code: [u8; 4], path: &[u8]) {
    let footer = child.split_off(child.len() - 512);
    let offset = child.len() as u64;
    let locator = &mut child[512 + 576..][..24];
    locator[..4].copy_from_slice(&code);
    locator[8..12].copy_from_slice(&u32::try_from(path.len()).unwrap().to_be_bytes());
    locator[16..24].copy_from_slice(&offset.to_be_bytes());
    seal(&mut child[512..1536], 36);
    child.extend(path);
    child.resize(child.len().next_multiple_of(512), 0);
    child.extend(footer);
}

/// Puts the checksum of a VHD's structure into it.
pub(crate) fn seal(structure: &mut [u8], checksum_at: usize) {
    structure[checksum_at..checksum_at + 4].fill(0);
    let sum: u32 = structure.iter().map(|byte| u32::from(*byte)).sum();
    structure[checksum_at..checksum_at + 4].copy_from_slice(&(!sum).to_be_bytes());
}
