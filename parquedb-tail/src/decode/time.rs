//! ISO 8601 text as JavaScript's `Date` writes it, to and from epoch milliseconds.

const DAY: i64 = 86_400_000;

/// `2026-11-20T16:05:07.801Z`; years outside 0–9999 with sign and six digits, as ECMAScript has it.
pub(crate) fn to_iso(millis: i64) -> String {
    let (days, of_day) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        year if year < 0 => format!("-{:06}", -year),
        year => format!("+{year:06}"),
    };
    let (second, millis) = (of_day / 1000, of_day % 1000);
    format!(
        "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Reads a date with time and zone (`Z` or `±hh:mm`); fractions beyond milliseconds are cut. Nothing
/// for any other text.
pub(crate) fn from_iso(text: &str) -> Option<i64> {
    let (sign, digits, rest) = match text.as_bytes().first()? {
        b'+' => (1, 6, text.get(1..)?),
        b'-' => (-1, 6, text.get(1..)?),
        _ => (1, 4, text),
    };
    let year = sign * number(rest.get(..digits)?)?;
    let rest = rest.get(digits..)?;
    let fixed = rest.get(..15)?.as_bytes();
    let separators = [(0, b'-'), (3, b'-'), (6, b'T'), (9, b':'), (12, b':')];
    if separators.iter().any(|&(at, byte)| fixed[at] != byte) {
        return None;
    }
    let part = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day, hour, minute, second) = (part(1)?, part(4)?, part(7)?, part(10)?, part(13)?);
    if !(1..=12).contains(&month) || day < 1 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let mut rest = rest.get(15..)?;
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let kept: String = fraction.get(..length.min(3))?.chars().chain("000".chars()).take(3).collect();
        millis = if length == 0 { return None } else { number(&kept)? };
        rest = fraction.get(length..)?;
    }
    let zone = match rest.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = number(rest.get(1..3)?)? * 60 + number(rest.get(4..6)?)?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    Some(days * DAY + ((hour * 60 + minute - zone) * 60 + second) * 1000 + millis)
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Days since 1970 of a date of the proleptic Gregorian calendar. Years are counted from March, in
/// eras of 400.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{from_iso, to_iso};

    #[test]
    fn text_and_milliseconds_agree() {
        let known = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_760_000_000_000, "2025-10-09T08:53:20.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
            (-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
        ];
        for (millis, text) in known {
            assert_eq!(to_iso(millis), text);
            assert_eq!(from_iso(text), Some(millis));
        }
        assert_eq!(from_iso("2026-11-20T16:05:07Z"), Some(1_795_190_707_000));
        assert_eq!(from_iso("2026-11-20T18:05:07.8019+02:00"), Some(1_795_190_707_801));
    }

    #[test]
    fn other_text_is_not_a_time() {
        for text in [
            "",
            "x",
            "2026-11-20",
            "2026-02-30T00:00:00Z",
            "2026-11-20T16:05:07",
            "2026-11-20T16:05:07.Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T1é:05:07Z",
        ] {
            assert_eq!(from_iso(text), None, "{text}");
        }
    }
}
