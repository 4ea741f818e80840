//! Matches: bytes that are repeated from what was written before.

/// How much is copied at a time.
const WIDE: usize = 16;

/// Writes `length` bytes at `at`, the same as those `distance` bytes before. What is written may itself be repeated, when
/// the distance is less than the length. Up to 15 bytes behind them may be overwritten with anything.
///
/// The caller has checked that `distance` is from 1 to `at`, and that `at + length` is inside `output`.
#[inline(always)]
pub(super) fn repeat(output: &mut [u8], at: usize, distance: usize, length: usize) {
    if distance >= WIDE && at + length + WIDE <= output.len() {
        let mut done = 0;
        while done < length {
            let to = at + done;
            if let Some(piece) = output[to - distance..].first_chunk::<WIDE>().copied() {
                output[to..to + WIDE].copy_from_slice(&piece);
            }
            done += WIDE;
        }
    } else {
        repeat_slowly(output, at, distance, length);
    }
}

/// The same for short distances, and for the end of the output.
fn repeat_slowly(output: &mut [u8], at: usize, distance: usize, length: usize) {
    if distance == 1 {
        let byte = output[at - 1];
        output[at..at + length].fill(byte);
        return;
    }
    let start = at - distance;
    let mut done = 0;
    while done < length {
        // All that is there since `start` is a whole number of repetitions.
        let count = (distance + done).min(length - done);
        output.copy_within(start..start + count, at + done);
        done += count;
    }
}

#[cfg(test)]
mod tests {
    use super::repeat;

    #[test]
    fn every_distance_and_length_repeats_byte_by_byte() {
        let start: Vec<u8> = (0..40).collect();
        for distance in 1..=40 {
            for length in 0..=60 {
                for room in [0, 1, 15, 16, 40] {
                    let mut expected = start.clone();
                    for at in 40..40 + length {
                        expected.push(expected[at - distance]);
                    }
                    let mut output = start.clone();
                    output.resize(40 + length + room, 0xee);
                    repeat(&mut output, 40, distance, length);
                    assert_eq!(output[..40 + length], expected, "{distance} {length} {room}");
                }
            }
        }
    }
}
