//! What `gonto image info` prints for people.

use std::io::{self, Write};

use gonto::image::info::{Info, LayerInfo, PartitionInfo, VolumeInfo};
use indicatif::{BinaryBytes, HumanCount};

use super::time::utc;

pub(super) fn print(info: &Info, out: &mut dyn Write) -> io::Result<()> {
    for layer in &info.layers {
        print_layer(layer, out)?;
    }
    let table = match info.table {
        Some(table) => format!(", {table}"),
        None if info.error.is_some() => String::new(),
        None => ", no partition table".to_owned(),
    };
    line(out, "disk", &format!("{}{table}", size(info.disk_size)))?;
    optional(out, "  identity", info.disk_id.as_deref())?;
    for partition in &info.partitions {
        print_partition(partition, out)?;
    }
    if let Some(volume) = &info.volume {
        print_volume(volume, out)?;
    }
    for note in &info.notes {
        line(out, "note", note)?;
    }
    Ok(())
}

fn print_layer(layer: &LayerInfo, out: &mut dyn Write) -> io::Result<()> {
    line(out, "image", &layer.file)?;
    line(out, "  container", &format!("{}, {}", layer.container, size(layer.file_size)))?;
    optional(out, "  made by", creator(layer).as_deref())?;
    optional(out, "  made at", layer.created.map(utc).as_deref())?;
    optional(out, "  identity", layer.id.as_deref())?;
    optional(out, "  parent", layer.parent_id.as_deref())?;
    if let (Some(block_size), Some(blocks), Some(present)) =
        (layer.block_size, layer.blocks, layer.blocks_present)
    {
        let share = (u128::from(present) * 100).checked_div(blocks.into()).unwrap_or(0);
        let text = format!("{present} of {blocks} are present ({share} %), {} each", size(block_size));
        line(out, "  blocks", &text)?;
    }
    optional(out, "  sectors", layer.sector_size.map(|size| format!("{size} bytes")).as_deref())
}

/// As in `Virtual PC 5.3, on Macintosh`. The names of Windows tell both already.
fn creator(layer: &LayerInfo) -> Option<String> {
    let program = layer.creator.clone()?;
    if program.starts_with("Windows") {
        return Some(program);
    }
    let version = layer.creator_version.iter().map(|version| format!(" {version}"));
    let host = layer.creator_host.iter().map(|host| format!(", on {host}"));
    Some(version.chain(host).fold(program, |text, part| text + &part))
}

fn print_partition(partition: &PartitionInfo, out: &mut dyn Write) -> io::Result<()> {
    let PartitionInfo { number, start, kind, name, .. } = partition;
    let name = if name.is_empty() { String::new() } else { format!(", {name:?}") };
    let volume = if partition.is_volume { ", the volume" } else { "" };
    let text = format!("{} from byte {start}: {kind}{name}{volume}", size(partition.size));
    line(out, &format!("  partition {number}"), &text)
}

fn print_volume(volume: &VolumeInfo, out: &mut dyn Write) -> io::Result<()> {
    let label = if volume.label.is_empty() { String::new() } else { format!(", {:?}", volume.label) };
    let text = format!("{} {}, {}{label}", volume.file_system, volume.version, size(volume.size));
    line(out, "volume", &text)?;
    line(out, "  serial", &volume.serial)?;
    let VolumeInfo { sector_size, cluster_size, record_size, .. } = volume;
    let sizes =
        format!("sectors of {sector_size}, clusters of {cluster_size}, records of {record_size} bytes");
    line(out, "  layout", &sizes)?;
    let count =
        |count: u64, one: &str| format!("{} {one}{}", HumanCount(count), if count == 1 { "" } else { "s" });
    let counts = [
        count(volume.files, "file"),
        count(volume.folders, "folder"),
        count(volume.links, "link"),
        count(volume.streams, "named stream"),
    ];
    line(out, "  holds", &format!("{}; {}", counts.join(", "), size(volume.bytes)))?;
    if volume.damaged > 0 {
        line(
            out,
            "  damaged",
            &format!("{} (gonto image verify tells more)", count(volume.damaged, "name")),
        )?;
    }
    Ok(())
}

fn optional(out: &mut dyn Write, key: &str, value: Option<&str>) -> io::Result<()> {
    value.map_or(Ok(()), |value| line(out, key, value))
}

/// Names in an image may hold what steers a terminal.
fn line(out: &mut dyn Write, key: &str, value: &str) -> io::Result<()> {
    let value = value.replace(char::is_control, "\u{fffd}");
    writeln!(out, "{key:<14} {value}")
}

/// As in `4.00 MiB`, and exactly where that would be rounded.
fn size(bytes: u64) -> String {
    let short = BinaryBytes(bytes).to_string();
    if bytes < 1024 { short } else { format!("{short} ({bytes} bytes)") }
}
