//! Children of images that Windows and others made.

use gonto_image::Container;

use crate::family::{Image, assert_child};
use crate::support::corpus::{beside, corpus, is_ours, load};

#[test]
fn images_of_others_have_children() {
    let Some((folder, images)) = corpus() else { return };
    let mut kinds = Vec::new();
    for listed in images.iter().filter(|image| is_ours(image) && image.filesystem.starts_with("NTFS")) {
        let parent = Image { options: beside(&folder, listed), ..Image::new(load(&folder, listed)) };
        let container = parent.disk().container();
        if container == Container::Raw {
            continue;
        }
        let scheme = &*listed.partition_table;
        if scheme.is_empty() {
            assert!(parent.refusal().contains("no partition table"), "{}", listed.name);
            continue;
        }
        let size = parent.disk().disk().size();
        let expected = match scheme {
            "dos" => vec![0],
            _ => crate::parents::sectors_of_gpt(size).to_vec(),
        };
        eprintln!("{} ({container}, {scheme})", listed.name);
        assert_child(&parent, &expected);
        kinds.push(container);
    }
    for kind in [
        Container::FixedVhd,
        Container::DynamicVhd,
        Container::DifferencingVhd,
        Container::FixedVhdx,
        Container::DynamicVhdx,
        Container::DifferencingVhdx,
    ] {
        assert!(kinds.contains(&kind), "no {kind} in the corpus");
    }
}
