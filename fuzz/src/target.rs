//! How a target takes sparse images.

/// A fuzz target whose input is a sparse image: `fuzz_images!(BYTES, |files| …)` gives it, as [`Files`](crate::files::Files),
/// to what may take that many bytes of memory.
#[macro_export]
macro_rules! fuzz_images {
    ($memory:expr, |$files:ident| $work:expr) => {
        ::libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            if let Some($files) = $crate::files::Files::of(input) {
                $crate::memory::at_most($memory, || $work);
            }
        });

        ::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate::mutate(data, size, max_size, seed)
        });

        ::libfuzzer_sys::fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
            $crate::mutate::cross_over(one, other, out, seed)
        });
    };
}
