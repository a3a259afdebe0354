use super::serde_as_text;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// An exact decimal number of at most `P` digits (1–38), `S` of them (0–`P`) after the point.
///
/// Nothing rounds: a number that does not fit is an error. Its text form, also in JSON, is
/// `-12.50`, always with all `S` digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal<const P: u8, const S: i8>(i128);

impl<const P: u8, const S: i8> Decimal<P, S> {
    const VALID: () = assert!(
        P >= 1 && P <= 38 && S >= 0 && (S as u8) <= P,
        "Decimal<P, S> needs 1 to 38 digits P, and S of them, 0 to P, after the point"
    );
    /// One more than the largest unscaled value.
    const LIMIT: i128 = 10_i128.pow(P as u32);

    /// The number `unscaled / 10^S`.
    ///
    /// # Errors
    /// Invalid if it has more than `P` digits.
    pub fn from_unscaled(unscaled: i128) -> Result<Self> {
        const { Self::VALID };
        if unscaled.unsigned_abs() < Self::LIMIT.unsigned_abs() {
            return Ok(Self(unscaled));
        }
        Err(Error::invalid(format!(
            "the unscaled value {unscaled} has more than the {P} digits of Decimal<{P}, {S}>"
        )))
    }

    /// The number times `10^S`.
    #[must_use]
    pub const fn unscaled(self) -> i128 {
        const { Self::VALID };
        self.0
    }

    /// For values that are stored and were checked when they were written.
    pub(crate) const fn from_stored(unscaled: i128) -> Self {
        const { Self::VALID };
        Self(unscaled)
    }
}

impl<const P: u8, const S: i8> FromStr for Decimal<P, S> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const { Self::VALID };
        let malformed = || Error::invalid(format!("`{text}` is not a decimal number like `-12.50`"));
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty())
            || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
        {
            return Err(malformed());
        }
        let scale = usize::from(S.unsigned_abs());
        let significant = fraction.trim_end_matches('0');
        if significant.len() > scale {
            return Err(Error::invalid(format!(
                "`{text}` has {} digits after the point, but Decimal<{P}, {S}> keeps {S}",
                significant.len()
            )));
        }
        let padding = std::iter::repeat_n(b'0', scale - significant.len());
        let mut unscaled = 0_i128;
        for digit in whole.bytes().chain(significant.bytes()).chain(padding) {
            unscaled = unscaled
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(digit - b'0')))
                .filter(|value| *value < Self::LIMIT)
                .ok_or_else(|| {
                    Error::invalid(format!(
                        "`{text}` has more than the {} digits before the point that Decimal<{P}, {S}> keeps",
                        usize::from(P) - scale
                    ))
                })?;
        }
        Ok(Self(if negative { -unscaled } else { unscaled }))
    }
}

impl<const P: u8, const S: i8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(S.unsigned_abs());
        let mut digits = format!("{:0width$}", self.0.unsigned_abs(), width = scale + 1);
        if scale > 0 {
            digits.insert(digits.len() - scale, '.');
        }
        f.pad_integral(self.0 >= 0, "", &digits)
    }
}

serde_as_text!(Decimal<const P: u8, const S: i8>, "a decimal number as text, such as \"-12.50\"");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_exact() {
        for (text, shown) in [
            ("0", "0.00"),
            ("-0.05", "-0.05"),
            ("12.5", "12.50"),
            ("999.99", "999.99"),
            (".5", "0.50"),
            ("1.500", "1.50"),
        ] {
            let value: Decimal<5, 2> = text.parse().unwrap();
            assert_eq!(value.to_string(), shown);
            assert_eq!(shown.parse::<Decimal<5, 2>>().unwrap(), value);
        }
        for wrong in ["", ".", "-", "1e3", "1000", "0.001", "1,5", "--1"] {
            assert!(wrong.parse::<Decimal<5, 2>>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn range_is_that_of_the_precision() {
        let most = 10_i128.pow(38) - 1;
        let text = most.to_string();
        assert_eq!(text.parse::<Decimal<38, 0>>().unwrap().unscaled(), most);
        assert!(format!("{text}0").parse::<Decimal<38, 0>>().is_err());
        assert!(Decimal::<5, 2>::from_unscaled(100_000).is_err());
        assert!(Decimal::<5, 2>::from_unscaled(i128::MIN).is_err());
        assert_eq!(Decimal::<2, 2>::from_unscaled(-7).unwrap().to_string(), "-0.07");
    }
}
