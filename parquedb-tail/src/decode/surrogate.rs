//! Unpaired surrogate escapes.
//!
//! A log that holds half an emoji arrives as the escape `\ud83d` alone: JSON text that JavaScript
//! writes and reads, but no Rust string can hold. It becomes U+FFFD, which has the same length.

use std::borrow::Cow;

/// The same JSON text with each unpaired surrogate escape rewritten to `\ufffd`. Text without any is
/// not copied.
pub(crate) fn repair(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut repaired: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        match unit(bytes, at) {
            Some(0xD800..=0xDBFF) if matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                let copy = repaired.get_or_insert_with(|| bytes.to_vec());
                copy[at..at + 6].copy_from_slice(b"\\ufffd");
                at += 6;
            }
            Some(_) => at += 6,
            // Any other escape is a backslash and one more byte; that byte may be a backslash.
            None => at += 2,
        }
    }
    match repaired.map(String::from_utf8) {
        Some(Ok(copy)) => Cow::Owned(copy),
        // Only ASCII was replaced by ASCII, so the copy is UTF-8 too.
        Some(Err(_)) | None => Cow::Borrowed(text),
    }
}

/// The code unit of the `\uXXXX` escape at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |unit, &digit| {
        let digit = u16::try_from(char::from(digit).to_digit(16)?).ok()?;
        Some(unit << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::repair;

    #[test]
    fn only_unpaired_escapes_change() {
        let cases = [
            (r#""plain""#, r#""plain""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ude00x""#, r#""\ufffdx""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\uDBFF\n""#, r#""\ufffd\n""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\u0000\u00e9\ud8"#, r#""\u0000\u00e9\ud8"#),
            ("\"\\", "\"\\"),
        ];
        for (from, to) in cases {
            assert_eq!(repair(from), to);
        }
    }
}
