//! Disks whose other half is in a parent.

use super::*;

#[test]
fn each_sector_of_a_differencing_disk_is_its_own_or_the_parents() {
    let parent = Plan { id: id(2), ..Plan::new(&[Some(1), Some(2), Some(3), Some(4)]) }.image();
    let states = [
        (state::NOT_PRESENT, 0),
        (state::PARTIALLY_PRESENT, 12),
        (state::FULLY_PRESENT, 13),
        (state::ZERO, 0),
    ];
    // Sectors 2048 to 4095 are those of block 1; the bits of the other blocks mean nothing.
    let written: Vec<u64> = [5, 2048, 2050, 2051, 4095, 4100].into_iter().chain(3000..3100).collect();
    let child = Plan { written: written.clone(), ..Plan::child(3, 2, &states) }.image();
    let disk = open_with(child.clone(), &family(&[(".\\parent.vhdx", parent)])).unwrap();
    assert_eq!(disk.container(), Container::DifferencingVhdx);
    let mut expected = blocks(&[1, 2, 13, 0]);
    for sector in written.into_iter().filter(|sector| (2048..4096).contains(sector)) {
        let at = usize::try_from(sector).unwrap() * 512;
        expected[at..at + 512].fill(12);
    }
    assert!(content_of(&disk) == expected);
    for (offset, length) in
        [(2048 * 512 - 3, 1030), (2051 * 512, 513), (4095 * 512 - 1, 514), (3 * BLOCK - 1, 2)]
    {
        let mut part = vec![0x77; length];
        disk.disk().read_at(&mut part, offset as u64).unwrap();
        assert!(part == expected[offset..offset + length], "{length} bytes from {offset} on");
    }
    let extents: Vec<(u64, Option<u32>)> = {
        let mut at = 0;
        std::iter::from_fn(|| {
            let Extent { length, place } = disk.disk().extent(at);
            at += length;
            let layer = if let Place::Image { layer, .. } = place { Some(layer) } else { None };
            (length > 0).then_some((length / 512, layer))
        })
        .collect()
    };
    let (own, below) = (Some(0), Some(1));
    let partial = [(1, own), (1, below), (2, own), (948, below), (100, own), (995, below), (1, own)].to_vec();
    assert_eq!(extents, [vec![(2048, below)], partial, vec![(2048, own), (2048, None)]].concat());
    let layers: Vec<&str> = disk.layers().iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(layers, ["", ".\\parent.vhdx"]);
    assert_eq!((disk.layers()[0].parent_id, disk.layers()[1].id), (Some(id(2)), Some(id(2))));
}

#[test]
fn sectors_of_4_kib_have_bits_of_their_own() {
    let parent = Plan { id: id(2), sector_size: 4096, ..Plan::new(&[Some(1)]) }.image();
    let child = Plan::child(3, 2, &[(state::PARTIALLY_PRESENT, 9)]);
    let child = Plan { sector_size: 4096, written: vec![0, 9, 255], ..child }.image();
    let disk = open_with(child, &family(&[("parent.vhdx", parent)])).unwrap();
    let mut expected = blocks(&[1]);
    for sector in [0, 9, 255] {
        expected[sector * 4096..][..4096].fill(9);
    }
    assert!(content_of(&disk) == expected);
}

#[test]
fn a_parent_may_be_smaller_and_a_child_itself() {
    let grandparent = Plan { id: id(2), ..Plan::new(&[Some(1), Some(2)]) }.image();
    let absent = (state::NOT_PRESENT, 0);
    let mut middle = Plan::child(3, 2, &[absent, (state::FULLY_PRESENT, 5), absent]);
    middle.parent[1].1 = "base.vhdx".into();
    let child = Plan::child(4, 3, &[absent, absent, (state::FULLY_PRESENT, 6), absent]);
    let options = family(&[("parent.vhdx", middle.image()), ("base.vhdx", grandparent)]);
    let disk = open_with(child.image(), &options).unwrap();
    assert!(content_of(&disk) == blocks(&[1, 5, 6, 0]));
    let layer = |number: u64| match disk.disk().extent(number * MIB).place {
        Place::Image { layer, .. } => Some(layer),
        _ => None,
    };
    assert_eq!([layer(0), layer(1), layer(2), layer(3)], [Some(2), Some(1), Some(0), None]);
    assert_eq!(disk.layers().len(), 3);
}

#[test]
fn the_identity_of_the_parent_decides() {
    let absent = [(state::NOT_PRESENT, 0)];
    let image = |own| Plan { id: id(own), ..Plan::new(&[Some(own)]) }.image();
    let mut child = Plan::child(3, 2, &absent);
    child.parent.push(("absolute_win32_path", "C:\\elsewhere\\old.vhdx".into()));
    child.parent.push(("volume_path", "\\\\?\\Volume{1}\\old.vhdx".into()));
    let options = family(&[(".\\parent.vhdx", image(7)), ("C:\\elsewhere\\old.vhdx", image(2))]);
    assert!(content_of(&open_with(child.image(), &options).unwrap()) == blocks(&[2]));
    let options = family(&[(".\\parent.vhdx", image(7)), ("parent.vhdx", vec![0; 5000])]);
    let Err(error) = open_with(child.image(), &options) else { panic!("opened") };
    let text = error.to_string();
    for part in [
        "the image with the identity 02020202-0202-0202-0202-020202020202, was not found",
        "looked for .\\parent.vhdx (another image, 07070707-0707-0707-0707-070707070707)",
        "\\\\?\\Volume{1}\\old.vhdx (none there, or not looked at), C:\\elsewhere\\old.vhdx (none there, or not looked at)",
        "beside it parent.vhdx (no VHD or VHDX)",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // While a parent is being changed it may have either of two identities.
    child.parent.push(("parent_linkage2", format!("{{{}}}", id(8))));
    let options = family(&[("parent.vhdx", image(8))]);
    assert!(content_of(&open_with(child.image(), &options).unwrap()) == blocks(&[8]));
}

#[test]
fn chains_that_lead_to_themselves_are_refused() {
    let absent = [(state::NOT_PRESENT, 0)];
    let mut one = Plan::child(1, 2, &absent);
    one.parent[1].1 = "two".into();
    let mut two = Plan::child(2, 1, &absent);
    two.parent[1].1 = "one".into();
    let options = family(&[("one", one.image()), ("two", two.image())]);
    let Err(Error::Parent { source, .. }) = open_with(one.image(), &options) else { panic!("opened") };
    assert!(source.to_string().contains("is its own ancestor"), "{source}");
}

#[test]
fn a_differencing_disk_without_a_sound_locator_or_bitmap_is_refused() {
    let absent = [(state::NOT_PRESENT, 0)];
    let with = |pairs: &[(&'static str, &str)]| {
        let parent = pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Plan { parent, ..Plan::child(1, 2, &absent) }.image()
    };
    refused(with(&[("relative_path", "x")]), "a GUID as parent_linkage, found none");
    refused(with(&[("parent_linkage", "{2}")]), "found \"{2}\"");
    let zero = "{00000000-0000-0000-0000-000000000000}";
    refused(with(&[("parent_linkage", zero)]), "a GUID as parent_linkage");
    refused(with(&[("parent_linkage", &format!("{{{}}}", id(2)))]), "looked for nowhere");
    let plan = Plan::child(1, 2, &absent);
    let item_at = plan.image().windows(16).position(|bytes| *bytes == VHDX_PARENT.to_bytes()).unwrap();
    let edited = |at: usize, byte: u8| {
        let mut image = plan.image();
        image[item_at + at] = byte;
        image
    };
    refused(edited(0, 0), "the type b04aefb7-d19e-4a81-b789-25b8e9445913, which is VHDX");
    refused(edited(19, 1), "at most 64 keys, found 258");
    refused(edited(18, 60), "UTF-16 text inside the item");
    refused(edited(22, 1), "the VHDX's parent locator");
    refused(edited(28, 0x1b), "27 bytes from byte");
    let mut image = Plan::child(1, 2, &[(state::PARTIALLY_PRESENT, 1)]).image();
    put(&mut image, BAT_AT + 4096 * 8, &0u64);
    refused(image, "the sector bitmap of chunk 0, which block 0 needs, found state 0");
}

#[test]
fn another_reader_sees_the_same_in_a_chain() {
    // Blocks of all states and bitmaps without any order, three images deep.
    let mut numbers = Numbers(0x6469_6666);
    let mut image = |own: u8, parent: u8| {
        let mut state = || match numbers.below(5) {
            0 => (state::NOT_PRESENT, 0),
            1 => (state::ZERO, 0),
            2 => (state::FULLY_PRESENT, own),
            _ => (state::PARTIALLY_PRESENT, own | 0x80),
        };
        let blocks: Vec<(u8, u8)> = (0..6).map(|_| state()).collect();
        let mut written = Vec::new();
        let mut sector = 0;
        while sector < 6 * 2048 {
            let run = 1 + numbers.below(30);
            written.extend(sector..sector + run);
            sector += run + numbers.below(100);
        }
        let mut plan = Plan { written, ..Plan::child(own, parent, &blocks) };
        plan.parent[1].1 = format!("{parent}.vhdx");
        plan.image()
    };
    let base = Plan { id: id(1), ..Plan::new(&[Some(9), None, Some(8), Some(7), None, Some(6)]) }.image();
    for round in 0..4 {
        let (middle, child) = (image(2, 1), image(3, 2));
        let mut theirs = ::vhdx::VhdxReader::from_bytes(base.clone()).unwrap();
        for image in [&middle, &child] {
            theirs = ::vhdx::VhdxReader::from_bytes_with_parent(image.clone(), theirs).unwrap();
        }
        let mut expected = Vec::new();
        io::Read::read_to_end(&mut theirs, &mut expected).unwrap();
        let options = family(&[("1.vhdx", base.clone()), ("2.vhdx", middle)]);
        let disk = open_with(child, &options).unwrap();
        assert!(content_of(&disk) == expected, "round {round}");
    }
}
