//! Disks with the signatures of file systems on them.

use super::*;

fn find(disk: &Arc<dyn ReadAt>) -> Result<Volume, Error> {
    let options = Options::default();
    Volume::find(&VirtualDisk::open(disk.clone(), &options)?, &options)
}

fn refusal(signature_at: usize, signature: &[u8]) -> String {
    let mut disk = vec![0; 80 << 10];
    disk[signature_at..][..signature.len()].copy_from_slice(signature);
    let disk: Arc<dyn ReadAt> = Arc::new(disk);
    match find(&disk) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("found NTFS"),
    }
}

#[test]
fn other_file_systems_are_refused_by_name() {
    assert!(refusal(3, b"-FVE-FS-").contains("BitLocker is not read: turn BitLocker off"));
    assert!(refusal(3, b"EXFAT   ").contains("exFAT"));
    assert!(refusal(54, b"FAT16   ").contains("FAT is not read: format the image with NTFS"));
    assert!(refusal(82, b"FAT32   ").contains("FAT"));
    assert!(refusal(0x10040, b"_BHRfS_M").contains("btrfs"));
    assert!(refusal(4086, b"SWAPSPACE2").contains("swap"));
    assert!(refusal(0x8001, b"CD001").contains("ISO 9660"));
    assert!(refusal(0, b"LUKS\xba\xbe").contains("LUKS is not read: decrypt"));
    assert!(refusal(1080, &[0x53, 0xef]).contains("ext2/3/4"));
    assert!(refusal(0, b"").contains("no NTFS volume on the disk: no partition table"));
}

/// Sectors of 512 bytes: MBR, and NTFS signatures where partitions start.
fn disk(partitions: &[(u8, u32, u32)], ntfs: &[usize]) -> Arc<dyn ReadAt> {
    let mut disk = vec![0; 512 * 100];
    for (number, (kind, start, size)) in partitions.iter().enumerate() {
        let entry = &mut disk[446 + number * 16..][..16];
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&size.to_le_bytes());
    }
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    for sector in ntfs {
        disk[sector * 512 + 3..][..8].copy_from_slice(b"NTFS    ");
    }
    Arc::new(disk)
}

#[test]
fn the_first_ntfs_partition_that_is_not_the_systems_is_taken() {
    let disk = disk(&[(0xef, 1, 9), (0x27, 10, 10), (7, 20, 10), (7, 30, 15)], &[1, 10, 30]);
    assert_eq!(find(&disk).map(|volume| volume.bytes().size()).unwrap(), 15 * 512);
}

#[test]
fn a_partition_can_be_chosen_whatever_it_is_for() {
    let disk = disk(&[(0xef, 1, 9), (7, 20, 10), (7, 30, 15), (0x83, 50, 5)], &[1, 20, 30]);
    let chosen = |partition: u32| {
        let options = Options { partition: Some(partition), ..Options::default() };
        Volume::find(&VirtualDisk::open(disk.clone(), &options)?, &options)
    };
    for (number, sectors) in [(1, 9), (2, 10), (3, 15)] {
        let volume = chosen(number).unwrap();
        assert_eq!(volume.bytes().size(), sectors * 512);
        assert_eq!(volume.partition().unwrap().number, number);
    }
    let message = |number| chosen(number).err().unwrap().to_string();
    assert!(
        message(4).contains("partition 4 (Linux file system, 2560 bytes) holds no file system that is known")
    );
    let none = message(5);
    assert!(none.starts_with("there is no partition 5: the disk has partition 1 (EFI system, 4608 bytes), "));
    let bare: Arc<dyn ReadAt> = Arc::new([&b"\xeb\x52\x90NTFS    "[..], &[0; 5000]].concat());
    let options = Options { partition: Some(1), ..Options::default() };
    let error = Volume::find(&VirtualDisk::open(bare, &options).unwrap(), &options).err().unwrap();
    assert_eq!(error.to_string(), "there is no partition 1: the disk has no partition table");
}

fn told(volume: &Volume) -> Vec<String> {
    volume.irregularities().map(ToString::to_string).collect()
}

#[test]
fn a_partition_that_is_cut_is_opened_with_what_is_there() {
    let volume = find(&disk(&[(7, 90, 20)], &[90])).unwrap();
    assert_eq!(volume.bytes().size(), 10 * 512);
    assert_eq!(told(&volume), ["partition 1 reaches 5120 bytes behind the end of the disk"]);
}

#[test]
fn a_partition_outside_the_disk_is_passed_over_and_refused_at_last() {
    let volume = find(&disk(&[(7, 190, 20), (7, 20, 10)], &[20])).unwrap();
    assert_eq!(volume.partition().unwrap().number, 2);
    let Err(error) = find(&disk(&[(7, 100, 20)], &[])) else { panic!("opened") };
    let text = error.to_string();
    assert!(text.contains("damaged at byte 0x1be of the disk: expected partition 1 inside"), "{text}");
    assert!(text.contains("inside the disk of 51200 bytes"), "{text}");
    assert!(text.contains("found 10240 bytes from byte 51200 on"), "{text}");
}

#[test]
fn dynamic_disks_and_storage_pools_are_told_by_name() {
    let message = find(&disk(&[(0x42, 10, 50)], &[])).err().unwrap().to_string();
    assert!(message.contains("a dynamic disk (LDM) is not read: copy the files"), "{message}");
    // A simple volume that fills its partition can be read.
    let volume = find(&disk(&[(0x42, 10, 50)], &[10])).unwrap();
    assert!(told(&volume)[0].contains("belongs to a dynamic disk (LDM)"));
}

#[test]
fn a_damaged_chain_matters_only_where_the_volume_may_be_in_it() {
    assert!(find(&disk(&[(5, 60, 20), (7, 20, 10)], &[20])).is_ok());
    let message = find(&disk(&[(5, 60, 20), (0x83, 20, 10)], &[])).err().unwrap().to_string();
    assert!(message.contains("the MBR partition table is damaged at byte 0x79fe of the disk"), "{message}");
}

#[test]
fn a_raw_disk_with_an_mbr_may_have_sectors_of_4096_bytes() {
    let mut disk = vec![0; 4096 * 50];
    disk[446 + 4] = 7;
    disk[446 + 8] = 20;
    disk[446 + 12] = 10;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[4096 * 20 + 3..][..8].copy_from_slice(b"NTFS    ");
    let disk: Arc<dyn ReadAt> = Arc::new(disk);
    let volume = find(&disk).unwrap();
    assert_eq!((volume.bytes().size(), volume.table().sector_size()), (10 * 4096, 4096));
}
