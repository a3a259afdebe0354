//! A sum as bytes, version 1: the version, a byte of flags (1: negative, 2: with counts), the counts of
//! NaNs, infinities and negative infinities as three `i64` where they are not all zero, and, unless the
//! sum is zero, the number of the first digit as a byte and the digits as `u32`. Little-endian. Equal sums are
//! equal bytes.

use super::{LIMBS, Special, Total};

const VERSION: u8 = 1;
const NEGATIVE: u8 = 1;
const WITH_COUNTS: u8 = 2;

impl Total {
    /// The stored form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Special { nans, infinities, negative_infinities } = self.special;
        let with_counts = self.special != Special::default();
        let mut bytes = vec![
            VERSION,
            if self.negative { NEGATIVE } else { 0 } | if with_counts { WITH_COUNTS } else { 0 },
        ];
        if with_counts {
            for count in [nans, infinities, negative_infinities] {
                bytes.extend(count.to_le_bytes());
            }
        }
        if let (false, Ok(first)) = (self.digits.is_empty(), u8::try_from(self.first)) {
            bytes.push(first);
            bytes.extend(self.digits.iter().flat_map(|digit| digit.to_le_bytes()));
        }
        bytes
    }

    /// The sum of these bytes, or what is wrong with them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let [version, flags, rest @ ..] = bytes else {
            return Err("an exact sum of fewer than two bytes".to_owned());
        };
        if *version != VERSION {
            return Err(format!("an exact sum in format {version}, which this version does not know"));
        }
        let (mut rest, mut special) = (rest, Special::default());
        if flags & WITH_COUNTS != 0 {
            let mut counts = [0; 3];
            for count in &mut counts {
                let (bytes, after) =
                    rest.split_first_chunk::<8>().ok_or("an exact sum that ends within its counts")?;
                *count = i64::from_le_bytes(*bytes);
                rest = after;
            }
            let [nans, infinities, negative_infinities] = counts;
            special = Special { nans, infinities, negative_infinities };
        }
        let (first, digits) = match rest {
            [] => (0, Vec::new()),
            [first, digits @ ..] => {
                let (digits, left) = digits.as_chunks::<4>();
                if !left.is_empty() || usize::from(*first) + digits.len() > LIMBS {
                    return Err("an exact sum of a wrong length".to_owned());
                }
                (usize::from(*first), digits.iter().map(|digit| u32::from_le_bytes(*digit)).collect())
            }
        };
        Ok(Total { negative: flags & NEGATIVE != 0, first, digits, special })
    }
}
