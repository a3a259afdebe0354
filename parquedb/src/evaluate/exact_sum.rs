//! Sums of floats without rounding: the same whatever the order, and values can be taken back.
//!
//! Every finite float is an integer times 2^-1074, and every product of two an integer times 2^-2148.
//! A sum adds those integers, as the small superaccumulator of R. M. Neal, "Fast exact summation using
//! small and large superaccumulators" (2015), <https://arxiv.org/abs/1505.05571>: limbs of 32 bits in
//! 64-bit integers, so that carries are due only every thousand additions. Only the limbs around the
//! first value are kept until another one needs more. Infinities and NaNs are counted beside.

mod format;
pub(crate) mod functions;
mod moments;
#[cfg(test)]
mod tests;

/// Products of the greatest and of the least floats, and the carries of 2^64 of them.
const LIMBS: usize = 136;

/// Limbs below 2^32 stand this many additions of less than 2^53 each.
const ADDITIONS_BEFORE_CARRY: u16 = 1000;

/// The last limb of the window takes no more than this before all limbs are kept.
const WINDOW_LIMIT: i64 = 1 << 60;

/// Where the window begins that no limb is in.
const NOWHERE: u32 = 1 << 16;

/// The sum of a group: `W` limbs in place.
#[derive(Debug, Clone)]
pub(crate) struct ExactSum<const W: usize> {
    /// The limbs from `first` on, while there are not `all`.
    window: [i64; W],
    first: u32,
    additions: u16,
    all: Option<Box<[i64; LIMBS]>>,
    special: Option<Box<Special>>,
}

/// How many values are not finite. Below zero where more were taken back than were added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Special {
    pub(crate) nans: i64,
    pub(crate) infinities: i64,
    pub(crate) negative_infinities: i64,
}

/// A sum in its one canonical form: a sign and the digits of the magnitude in base 2^32, least first and
/// without zeros at either end, from the `first`-th on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) negative: bool,
    pub(crate) first: usize,
    pub(crate) digits: Vec<u32>,
    pub(crate) special: Special,
}

impl<const W: usize> Default for ExactSum<W> {
    fn default() -> Self {
        Self { window: [0; W], first: NOWHERE, additions: 0, all: None, special: None }
    }
}

/// A finite float as an integer below 2^53, the power of two that its lowest bit stands for above
/// 2^-1074, and its sign.
fn parts(value: f64) -> (u64, usize, bool) {
    let bits = value.to_bits();
    let exponent = (bits >> 52) as usize & 0x7ff;
    let fraction = bits & ((1 << 52) - 1);
    let negative = bits >> 63 == 1;
    if exponent == 0 { (fraction, 0, negative) } else { (fraction | 1 << 52, exponent - 1, negative) }
}

impl<const W: usize> ExactSum<W> {
    /// Adds a value.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        if value.is_finite() {
            let (integer, position, negative) = parts(value);
            self.add_at(integer, position, negative);
        } else {
            self.add_special(value);
        }
    }

    /// Adds a product. Its unit is 2^-2148, so that no sum may have both values and products.
    pub(crate) fn add_product(&mut self, left: f64, right: f64) {
        if !left.is_finite() || !right.is_finite() {
            return self.add_special(left * right);
        }
        let ((left, left_at, left_negative), (right, right_at, right_negative)) = (parts(left), parts(right));
        let product = u128::from(left) * u128::from(right);
        let (position, negative) = (left_at + right_at, left_negative != right_negative);
        let (low, high) = ((product & ((1 << 53) - 1)) as u64, (product >> 53) as u64);
        // The lower half first, because the window begins at the first limb.
        self.add_at(low, position, negative);
        self.add_at(high, position + 53, negative);
    }

    /// Adds `integer` (below 2^53) times two to the power of `position`.
    #[inline]
    fn add_at(&mut self, integer: u64, position: usize, negative: bool) {
        if integer == 0 {
            return;
        }
        let (limb, shift) = (position / 32, position % 32);
        let (low, high) = (((integer << shift) & 0xffff_ffff) as i64, (integer >> (32 - shift)) as i64);
        let (low, high) = if negative { (-low, -high) } else { (low, high) };
        let index = (limb as u32).wrapping_sub(self.first) as usize;
        if index < W - 1 {
            self.window[index] += low;
            self.window[index + 1] += high;
        } else {
            self.add_elsewhere(limb, low);
            self.add_elsewhere(limb + 1, high);
        }
        self.additions += 1;
        if self.additions >= ADDITIONS_BEFORE_CARRY {
            self.carry();
        }
    }

    /// Adds to a limb that may be outside of the window. Zero belongs nowhere.
    fn add_elsewhere(&mut self, limb: usize, value: i64) {
        if value == 0 {
            return;
        }
        if self.first == NOWHERE && self.all.is_none() {
            self.first = u32::try_from(limb.saturating_sub(W / 4).min(LIMBS - W)).unwrap_or_default();
        }
        let index = (limb as u32).wrapping_sub(self.first) as usize;
        match self.window.get_mut(index) {
            Some(kept) => *kept += value,
            None => self.keep_all()[limb] += value,
        }
    }

    fn keep_all(&mut self) -> &mut [i64; LIMBS] {
        let (first, window) = (std::mem::replace(&mut self.first, NOWHERE) as usize, &self.window);
        self.all.get_or_insert_with(|| {
            let mut all = Box::new([0; LIMBS]);
            if let Some(limbs) = all.get_mut(first..first + W) {
                limbs.copy_from_slice(window);
            }
            all
        })
    }

    fn carry(&mut self) {
        self.additions = 0;
        if self.all.is_none() {
            carry(&mut self.window);
            if self.window[W - 1].abs() < WINDOW_LIMIT {
                return;
            }
        }
        carry(self.keep_all());
    }

    #[cold]
    fn add_special(&mut self, value: f64) {
        let special = self.special.get_or_insert_default();
        if value.is_nan() {
            special.nans += 1;
        } else if value > 0.0 {
            special.infinities += 1;
        } else {
            special.negative_infinities += 1;
        }
    }

    /// Adds a sum.
    pub(crate) fn add_total(&mut self, total: &Total) {
        for (index, digit) in total.digits.iter().enumerate() {
            let digit = i64::from(*digit);
            self.add_elsewhere(total.first + index, if total.negative { -digit } else { digit });
        }
        self.additions += 1;
        if self.additions >= ADDITIONS_BEFORE_CARRY {
            self.carry();
        }
        if total.special != Special::default() {
            let special = self.special.get_or_insert_default();
            special.nans += total.special.nans;
            special.infinities += total.special.infinities;
            special.negative_infinities += total.special.negative_infinities;
        }
    }

    /// The sum so far.
    pub(crate) fn total(&self) -> Total {
        let special = self.special.as_deref().copied().unwrap_or_default();
        let (mut first, mut limbs) = match &self.all {
            None => (self.first as usize, self.window.to_vec()),
            Some(all) => (0, all.to_vec()),
        };
        // The last limb may hold more than 32 bits.
        limbs.extend([0, 0]);
        carry(&mut limbs);
        let negative = limbs.last().is_some_and(|last| *last < 0);
        if negative {
            limbs.iter_mut().for_each(|limb| *limb = -*limb);
            carry(&mut limbs);
        }
        let mut digits = limbs.iter().map(|limb| *limb as u32).collect::<Vec<_>>();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..zeros);
        first = if digits.is_empty() { 0 } else { first + zeros };
        Total { negative, first, digits, special }
    }
}

/// Brings all limbs but the last into 0..2^32.
fn carry(limbs: &mut [i64]) {
    for index in 1..limbs.len() {
        let over = limbs[index - 1] >> 32;
        limbs[index - 1] -= over << 32;
        limbs[index] += over;
    }
}

impl Total {
    /// The sum of the opposite values, where values that are not finite are taken back.
    pub(crate) fn negated(mut self) -> Self {
        self.negative = !self.negative && !self.digits.is_empty();
        self.special = Special {
            nans: -self.special.nans,
            infinities: -self.special.infinities,
            negative_infinities: -self.special.negative_infinities,
        };
        self
    }

    /// The sum of values as the nearest float, ties to even; infinite when it is too great for one.
    pub(crate) fn value(&self) -> f64 {
        self.not_finite().unwrap_or_else(|| self.nearest(0))
    }

    /// The sum of values divided by their number.
    pub(crate) fn mean(&self, count: i64) -> f64 {
        let sum = self.value();
        if sum.is_infinite() && self.not_finite().is_none() {
            // The sum is too great for a float, the mean is not.
            return self.nearest(64) / count as f64 * 2_f64.powi(64);
        }
        sum / count as f64
    }

    /// What values that are not finite make of the sum.
    pub(crate) fn not_finite(&self) -> Option<f64> {
        let Special { nans, infinities, negative_infinities } = self.special;
        match (nans > 0, infinities > 0, negative_infinities > 0) {
            (true, ..) | (_, true, true) => Some(f64::NAN),
            (_, true, _) => Some(f64::INFINITY),
            (.., true) => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    /// The float nearest to the sum of values divided by 2^`down`, which only sums that are not small
    /// may be.
    fn nearest(&self, down: usize) -> f64 {
        let digit = |from_top: usize| {
            let index = self.digits.len().checked_sub(1 + from_top)?;
            Some(u128::from(self.digits[index]))
        };
        let Some(top) = digit(0) else { return 0.0 };
        let zeros = top.leading_zeros() as usize - 96;
        // The uppermost 64 bits, and whether anything is below.
        let upper = (top << 64 | digit(1).unwrap_or(0) << 32 | digit(2).unwrap_or(0)) << zeros;
        let leading = upper >> 32;
        let inexact = upper & 0xffff_ffff != 0 || self.digits.iter().rev().skip(3).any(|digit| *digit != 0);
        let highest = 32 * (self.first + self.digits.len()) - 1 - zeros - down;
        let leading = leading as u64;
        let magnitude = if highest < 53 {
            // The bits of these floats are those of the integer.
            leading >> (63 - highest)
        } else {
            let (kept, rest) = (leading >> 11, leading & 0x7ff);
            let up = rest > 0x400 || rest == 0x400 && (inexact || kept & 1 == 1);
            // What rounding up carries into the exponent belongs there.
            let bits = (((highest - 52) as u64) << 52) + kept + u64::from(up);
            bits.min(f64::INFINITY.to_bits())
        };
        let value = f64::from_bits(magnitude);
        if self.negative { -value } else { value }
    }
}
