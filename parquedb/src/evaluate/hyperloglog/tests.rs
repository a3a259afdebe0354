#![allow(clippy::unwrap_used)]

use super::{REGISTERS, SPARSE_LIMIT, Sketch};
use xxhash_rust::xxh3::xxh3_64;

fn sketch(numbers: std::ops::Range<u64>) -> Sketch {
    let mut sketch = Sketch::default();
    numbers.for_each(|number| sketch.add_hash(xxh3_64(&number.to_le_bytes())));
    sketch
}

#[test]
fn estimates_are_within_four_standard_errors() {
    assert_eq!(sketch(0..0).estimate(), 0.0);
    for count in [1, 2, 10, 100, 1000, 3000, 10_000, 30_000, 100_000, 300_000] {
        let (estimate, exact) = (sketch(7..7 + count).estimate(), count as f64);
        assert!((estimate - exact).abs() <= (4.0 * 0.0163 * exact).max(0.5), "{count}: {estimate}");
    }
}

#[test]
fn order_and_merges_do_not_show() {
    for count in [5, 500, 1364, 1400, 50_000] {
        let whole = sketch(0..count).encode();
        let mut merged = sketch(count / 3..count);
        merged.merge(&sketch(0..count / 2).encode()).unwrap();
        assert_eq!(merged.encode(), whole);
        assert_eq!(merged.estimate().to_bits(), sketch(0..count).estimate().to_bits());
        assert!(whole.len() <= 3 + REGISTERS);
    }
    assert_eq!(sketch(0..100_000).encode().len(), 3 + REGISTERS);
    assert!(sketch(0..1000).encode().len() <= 3 + 3 * SPARSE_LIMIT);
}

#[test]
fn damaged_sketches_are_errors() {
    for bytes in
        [&[][..], &[1, 12], &[2, 12, 0], &[1, 11, 0], &[1, 12, 0, 1], &[1, 12, 1, 1], &[1, 12, 0, 0, 16, 1]]
    {
        assert!(Sketch::default().merge(bytes).is_err(), "{bytes:?}");
    }
}
