//! The codecs against encoders: those of the tests, and those of others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

#[path = "support/encoders.rs"]
mod encoders;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use encoders::Block;
use gonto_image::compression::{Corrupt, lznt1, lzx, xpress_huffman};
use proptest::prelude::*;

type Codec = fn(&[u8], &mut [u8]) -> Result<(), Corrupt>;

fn decompressed(codec: Codec, input: &[u8], size: usize) -> Result<Vec<u8>, Corrupt> {
    let mut output = vec![0xee; size];
    codec(input, &mut output).map(|()| output)
}

/// Bytes with everything that a codec can meet: noise, runs, text, repetitions from near and far, x86 calls.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..300),
        (any::<u8>(), 1..3000usize).prop_map(|(byte, count)| vec![byte; count]),
        prop::collection::vec(prop::sample::select(b"the cat sat on a mat \n".to_vec()), 1..2000),
        (prop::collection::vec(any::<u8>(), 2..20), 1..200usize).prop_map(|(word, count)| word.repeat(count)),
        (any::<u16>(), any::<bool>()).prop_map(|(operand, negative)| {
            let operand = if negative { -i32::from(operand) } else { i32::from(operand) * 200 };
            [&[0xe8][..], &operand.to_le_bytes()].concat()
        }),
    ];
    prop::collection::vec(piece, 1..40).prop_map(|pieces| {
        let mut all = pieces.concat();
        let again: Vec<u8> = all.iter().take(5000).copied().collect();
        all.extend(again);
        all.truncate(32 << 10);
        all
    })
}

fn blocks() -> impl Strategy<Value = Vec<(Block, usize)>> {
    let kind = prop::sample::select(vec![Block::Verbatim, Block::Aligned, Block::Uncompressed]);
    prop::collection::vec((kind, prop_oneof![1..50usize, 1..9000usize, Just(32 << 10)]), 1..8)
}

#[test]
fn the_longest_codes_of_lzx_are_read_whatever_was_at_hand_before() {
    for (before, odd) in (0..32).step_by(2).flat_map(|before| [(before, false), (before, true)]) {
        let (input, data) = encoders::lzx_of_longest_codes(before, odd);
        assert!(decompressed(lzx::decompress, &input, data.len()).as_ref() == Ok(&data), "{before} {odd}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn lznt1_gives_back_what_was_compressed(data in mixed()) {
        let decompressed = |input: &[u8]| decompressed(lznt1::decompress, input, data.len()).unwrap();
        prop_assert!(decompressed(&encoders::lznt1(&data)) == data);
        let mut theirs = Vec::new();
        ::lznt1::compress(&data, &mut theirs);
        prop_assert!(decompressed(&theirs) == data);
    }

    #[test]
    fn xpress_gives_back_what_was_compressed(data in mixed()) {
        let ours = encoders::xpress_huffman(&data);
        prop_assert!(decompressed(xpress_huffman::decompress, &ours, data.len()).unwrap() == data);
// To this one the shortest match from one byte back is always the end.
        prop_assert!(data.starts_with(&::xpress_huffman::decompress(&ours, data.len()).unwrap()));
    }

    #[test]
    fn lzx_gives_back_what_was_compressed(data in mixed(), blocks in blocks()) {
        let ours = encoders::lzx(&data, &blocks);
        prop_assert!(decompressed(lzx::decompress, &ours, data.len()).unwrap() == data, "{:?}", blocks);
    }

    /// Damage is told, or makes other bytes; where another decoder takes it as well, the same bytes.
    #[test]
    fn damaged_data_are_no_danger(
        data in mixed(),
        blocks in blocks(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let damaged = |mut input: Vec<u8>| {
            for (place, byte) in &edits {
                *place.get_mut(&mut input) = *byte;
            }
            let length = cut.map_or(input.len(), |cut| cut.index(input.len()));
            input.truncate(length);
            input
        };
        let place_is_inside = |input: &[u8], result: Result<Vec<u8>, Corrupt>| {
            result.err().is_none_or(|corrupt| corrupt.at <= input.len())
        };
        let input = damaged(encoders::lzx(&data, &blocks));
        prop_assert!(place_is_inside(&input, decompressed(lzx::decompress, &input, data.len())));

        let input = damaged(encoders::xpress_huffman(&data));
        let ours = decompressed(xpress_huffman::decompress, &input, data.len());
        if let (Ok(ours), Ok(theirs)) = (&ours, ::xpress_huffman::decompress(&input, data.len())) {
            prop_assert!(ours.starts_with(&theirs));
        }
        prop_assert!(place_is_inside(&input, ours));

        let input = damaged(encoders::lznt1(&data));
        let ours = decompressed(lznt1::decompress, &input, data.len());
        prop_assert!(place_is_inside(&input, ours));
    }
}

#[test]
fn every_prefix_of_a_short_input_is_decoded_or_refused() {
    let data = b"a short text, a short text, a short text of \xe8\x10\x00\x00\x00 calls and calls".repeat(3);
    let blocks = [(Block::Aligned, 50), (Block::Uncompressed, 51), (Block::Verbatim, 1)];
    let inputs: [(Codec, Vec<u8>); 3] = [
        (lznt1::decompress, encoders::lznt1(&data)),
        (xpress_huffman::decompress, encoders::xpress_huffman(&data)),
        (lzx::decompress, encoders::lzx(&data, &blocks)),
    ];
    for (number, (codec, input)) in inputs.into_iter().enumerate() {
        assert!(decompressed(codec, &input, data.len()).unwrap() == data);
        for length in 0..input.len() {
            let cut = decompressed(codec, &input[..length], data.len());
            let missing = input.len() - length;
            let may_end = match number {
                // Behind its last chunk LZNT1 needs nothing, and no input at all is zeroes.
                0 => length < 2 || missing <= 2,
                // The last word that a simple decoder loads ahead holds nothing.
                1 => missing <= 2,
                _ => false,
            };
            assert_eq!(cut.is_ok(), may_end, "codec {number}, {length} of {} bytes", input.len());
        }
    }
}

#[test]
fn outputs_that_no_chunk_has_are_refused() {
    let refused = |codec: Codec, size| decompressed(codec, &[0x11; 1000], size).unwrap_err().expected;
    assert_eq!(refused(lzx::decompress, lzx::LONGEST + 1), "data that become at most 32 KiB");
    assert_eq!(
        refused(xpress_huffman::decompress, xpress_huffman::LONGEST + 1),
        "data that become at most 64 KiB"
    );
    for codec in [lzx::decompress as Codec, xpress_huffman::decompress, lznt1::decompress] {
        assert_eq!(decompressed(codec, &[], 0), Ok(Vec::new()));
    }
}

/// `vectors/lznt1` of the corpus: what Windows and others compressed.
#[test]
fn lznt1_of_other_programs_is_decompressed() {
    let Some(folder) = std::env::var_os("GONTO_CORPUS") else {
        eprintln!("skipped: no corpus (GONTO_CORPUS is not set)");
        return;
    };
    let load = |name: &str| {
        let stored = fs::read(Path::new(&folder).join("vectors/lznt1").join(name)).unwrap();
        if name.ends_with(".zst") { zstd::decode_all(&stored[..]).unwrap() } else { stored }
    };
    for (compressed, plain) in [
        (
            "jnode-libfsntfs-fsntfs_test_compression_lznt1_compressed_data1.bin",
            "jnode-libfsntfs-fsntfs_test_compression_uncompressed_data1.bin",
        ),
        ("jnode-py-lznt1-compressed.bin.zst", "jnode-py-lznt1-decompressed.bin.zst"),
        ("securityronin-lznt1_real.bin", "securityronin-lznt1_real.expected"),
    ] {
        let plain = load(plain);
        assert!(
            decompressed(lznt1::decompress, &load(compressed), plain.len()).unwrap() == plain,
            "{compressed}"
        );
    }
}

/// WIM files hold the same chunks as the Windows Overlay Filter, and wimlib has an encoder that is as good as Microsoft's.
#[test]
fn chunks_of_wim_files_are_decompressed() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, wim) = (scratch.path().join("files"), scratch.path().join("files.wim"));
    fs::create_dir(&folder).unwrap();
    let files = wim_files();
    for (number, content) in files.iter().enumerate() {
        fs::write(folder.join(number.to_string()), content).unwrap();
    }
    for (codec, name, chunk_size) in [
        (lzx::decompress as Codec, "LZX:20", 32768),
        (lzx::decompress, "LZX:100", 32768),
        (xpress_huffman::decompress, "XPRESS:100", 4096),
        (xpress_huffman::decompress, "XPRESS:60", 8192),
        (xpress_huffman::decompress, "XPRESS:20", 16384),
    ] {
        let status = Command::new("wimlib-imagex")
            .args(["capture", "--no-acls", "--include-integrity"])
            .args([&folder, &wim])
            .arg(format!("--compress={name}"))
            .arg(format!("--chunk-size={chunk_size}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("skipped: wimlib-imagex (package wimtools) is not installed");
            return;
        }
        let mut missing: HashMap<Vec<u8>, usize> = files.iter().cloned().zip(0..).collect();
        let mut compressed_chunks = 0;
        for resource in wim_resources(&fs::read(&wim).unwrap(), chunk_size) {
            let mut content = Vec::new();
            for (chunk, size) in resource {
                if chunk.len() == size {
                    content.extend(chunk);
                } else {
                    content.extend(decompressed(codec, &chunk, size).unwrap());
                    compressed_chunks += 1;
                }
            }
            missing.remove(&content);
        }
        assert!(missing.is_empty(), "{name}: files {:?} came out otherwise", missing.values());
        assert!(compressed_chunks > 50, "{name}: only {compressed_chunks} chunks were compressed");
        fs::remove_file(&wim).unwrap();
    }
}

/// Programs (with their x86 calls), text, runs, noise with long repetitions, and sizes around a chunk's.
fn wim_files() -> Vec<Vec<u8>> {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let sized = |size: usize| program[program.len() / 3..][..size].to_vec();
    let mut files: Vec<Vec<u8>> = [1, 2, 11, 4095, 4096, 4097, 32767, 32768, 32769, 65536].map(sized).into();
    files.push(program[..program.len().min(3 << 20)].to_vec());
    files.push(include_bytes!("compression.rs").repeat(20));
    files.push(vec![7; 200_000]);
    let word = |n: u32| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes();
    files.push((0..100_000).flat_map(|n| word(n % 9000 + n / 30_000)).collect());
    files.push((0..20_000).flat_map(word).collect());
    files
}

/// The resources of a WIM file, each as chunks with what they become (the format's header has the table of all resources).
fn wim_resources(wim: &[u8], chunk_size: usize) -> Vec<Vec<(Vec<u8>, usize)>> {
    let number = |at: usize, length: usize| {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&wim[at..at + length]);
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    };
    assert!(wim.starts_with(b"MSWIM\0\0\0") && number(20, 4) == chunk_size);
    let (table_size, table) = (number(48, 7), number(56, 8));
    let mut resources = Vec::new();
    for entry in (table..table + table_size).step_by(50) {
        let (stored, flags, start, size) =
            (number(entry, 7), number(entry + 7, 1), number(entry + 8, 8), number(entry + 16, 8));
        let chunks = size.div_ceil(chunk_size);
        // Without the flag for "compressed" it is one piece, which is as long as what it becomes.
        if flags & 4 == 0 || size == 0 {
            resources.push(vec![(wim[start..start + size].to_vec(), size)]);
            continue;
        }
        let data = start + (chunks - 1) * 4;
        let place = |chunk: usize| match chunk {
            0 => data,
            _ if chunk == chunks => start + stored,
            _ => data + number(start + (chunk - 1) * 4, 4),
        };
        let chunk = |n| (wim[place(n)..place(n + 1)].to_vec(), chunk_size.min(size - n * chunk_size));
        resources.push((0..chunks).map(chunk).collect());
    }
    resources
}
