//! The same folder makes the same bytes, and another one other identities.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use gonto_image::{NewContainer, NewImage, Timestamp};

use crate::making::{CONTAINERS, Image, Source, usual};
use crate::support::{distinct, sha256_of};

const OLD: SystemTime = SystemTime::UNIX_EPOCH;

fn hash(image: &Image) -> String {
    sha256_of(image.bytes().as_ref()).unwrap()
}

/// Fails unless both folders make the same image in every container.
#[track_caller]
pub(crate) fn assert_same_bytes(one: &Source, other: &Source) {
    for source in [one, other] {
        date(source.path(), OLD);
    }
    for container in CONTAINERS {
        let wanted = NewImage { container, label: "same", ..usual() };
        assert_eq!(hash(&one.image(&wanted)), hash(&other.image(&wanted)), "{container:?}");
    }
}

/// Gives a folder a time.
#[cfg(unix)]
fn date(folder: &Path, time: SystemTime) {
    File::open(folder).unwrap().set_modified(time).unwrap();
}

#[cfg(windows)]
fn date(folder: &Path, time: SystemTime) {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    let folder = File::options().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(folder).unwrap();
    folder.set_modified(time).unwrap();
}

/// Writes files with the same content in an order.
fn fill(source: &Source, order: impl Iterator<Item = u64>) {
    for folder in ["a", "b", "a/c"] {
        source.folder(folder);
    }
    for number in order {
        let path = format!("{}/{number}", ["a", "b", "a/c"][usize::try_from(number % 3).unwrap()]);
        source.write(&path, distinct(number, usize::try_from(number * number % 100_000).unwrap()));
        let time = OLD + Duration::from_secs(number);
        File::options().write(true).open(source.at(&path)).unwrap().set_modified(time).unwrap();
    }
    source.write("b/big", distinct(7, 3_000_000));
    fs::hard_link(source.at("b/big"), source.at("a/the same")).unwrap();
    File::options().write(true).open(source.at("b/big")).unwrap().set_modified(OLD).unwrap();
    for folder in ["a", "b", "a/c", ""] {
        date(&source.path().join(folder), OLD);
    }
}

#[test]
fn neither_place_nor_order_nor_numbers_of_files_matter() {
    let (one, other) = (Source::new(), Source::new());
    fill(&one, 0..500);
    // Numbers of inodes are given again to whoever comes next.
    for number in 0..50 {
        other.write(format!("x{number}"), "");
    }
    for number in 0..50 {
        fs::remove_file(other.at(format!("x{number}"))).unwrap();
    }
    fill(&other, (0..500).rev());
    assert_same_bytes(&one, &other);
}

#[test]
fn reading_a_folder_does_not_change_its_image() {
    let source = Source::new();
    fill(&source, 0..50);
    let first = hash(&source.image(&usual()));
    for path in ["b/big", "a/0"] {
        fs::read(source.at(path)).unwrap();
    }
    assert_eq!(hash(&source.image(&usual())), first);
}

/// Disk and partition of two images that differ must not have the same identifiers: Windows would take one of them offline.
#[test]
fn whatever_differs_makes_other_identities() {
    let identities = |source: &Source, wanted: &NewImage<'_>| {
        for folder in ["a", "b", "a/c", ""] {
            date(&source.path().join(folder), OLD);
        }
        let disk = crate::support::disk(source.image(wanted).bytes());
        let mut gpt = vec![0; 3 * 512];
        disk.read_at(&mut gpt, 0).unwrap();
        let mut serial = [0; 8];
        disk.read_at(&mut serial, (1 << 20) + 0x48).unwrap();
        // Identifiers of the disk and of the partition, UEFI 2.10, 5.3.
        [&gpt[512 + 56..512 + 72], &gpt[1024 + 16..1024 + 32], &serial].map(<[u8]>::to_vec)
    };
    let source = Source::new();
    fill(&source, 0..20);
    source.write("b/tiny", "tiny");
    let wanted = NewImage { container: NewContainer::FixedVhd, ..usual() };
    let mut all = vec![identities(&source, &wanted)];
    assert_eq!(identities(&source, &wanted), all[0]);

    let set = |path: &str, time: SystemTime| {
        File::options().write(true).open(source.at(path)).unwrap().set_modified(time).unwrap();
    };
    let mut big = fs::read(source.at("b/big")).unwrap();
    big[1_234_567] ^= 1;
    fs::write(source.at("b/big"), &big).unwrap();
    set("b/big", OLD);
    all.push(identities(&source, &wanted));
    set("b/tiny", OLD);
    all.push(identities(&source, &wanted));
    source.write("b/tiny", "tinY");
    set("b/tiny", OLD);
    all.push(identities(&source, &wanted));
    set("b/tiny", OLD + Duration::from_nanos(100));
    all.push(identities(&source, &wanted));
    fs::rename(source.at("b/tiny"), source.at("b/tinier")).unwrap();
    all.push(identities(&source, &wanted));
    all.push(identities(&source, &NewImage { label: "label", ..wanted }));
    all.push(identities(&source, &NewImage { more_free: 8 << 20, ..wanted }));
    all.push(identities(&source, &NewImage { container: NewContainer::Vhdx, ..wanted }));
    all.push(identities(&source, &NewImage { first: &["b/big".into()], ..wanted }));
    restrict(&source, "b/tinier", &mut all, |source| identities(source, &wanted));
    for one in 0..all.len() {
        for other in 0..one {
            for (a, b) in all[one].iter().zip(&all[other]) {
                assert_ne!(a, b, "change {one}, change {other}");
            }
        }
    }
}

/// Takes permissions away where there are such, and tells the identities then.
#[cfg(unix)]
fn restrict<T>(source: &Source, path: &str, all: &mut Vec<T>, identities: impl Fn(&Source) -> T) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(source.at(path), fs::Permissions::from_mode(0o640)).unwrap();
    all.push(identities(source));
}

#[cfg(not(unix))]
fn restrict<T>(_: &Source, _: &str, _: &mut Vec<T>, _: impl Fn(&Source) -> T) {}

#[test]
fn no_time_is_later_than_wanted() {
    let source = Source::new();
    fill(&source, 0..20);
    let newest = Timestamp::from_filetime(116_444_736_000_000_000 + 50_000_000);
    let image = source.image(&NewImage { newest: Some(newest), ..usual() });
    let tree = image.tree();
    let mut seconds: Vec<i128> = crate::support::paths(&tree)
        .into_iter()
        .map(|(_, id)| tree.node(id).modified.unix_nanos() / 1_000_000_000)
        .collect();
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds, [0, 1, 2, 3, 4, 5]);
}

/// What is read first comes first on the disk, in the order in which it was named.
#[test]
fn content_comes_in_the_order_that_was_asked_for() {
    let source = Source::new();
    fill(&source, 100..200);
    let first = ["b/big", "a/c/197", "a/102"].map(Into::into);
    let image = source.round_trip(&NewImage { first: &first, ..usual() });
    let tree = image.tree();
    let order = tree.disk_order();
    let expected = ["b/big", "a/c/197", "a/102"].map(|path| crate::support::find(&tree, path));
    assert_eq!(order[..3], expected);
}
