//! When rows expire: `$ttl: { after: "90d", on: hour }`, and the durations in it.

use super::columns::braces;
use crate::errors::{Errors, parse_all, split};
use crate::names::nearest;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, LitStr, Result, Token};

/// When rows of a view expire.
pub(crate) struct Ttl {
    /// So many microseconds after the time in the column.
    pub(crate) after: i64,
    /// The view's column.
    pub(crate) on: Ident,
}

const OPTIONS: [&str; 2] = ["after", "on"];

pub(crate) fn ttl(directive: &Ident, input: ParseStream, errors: &mut Errors) -> Result<Option<Ttl>> {
    let (mut after, mut on) = (None, None);
    let (mut has_after, mut has_on) = (false, false);
    for part in split(braces(directive, input)?) {
        let option = parse_all(part, |input| {
            let name: Ident = input.parse()?;
            input.parse::<Token![:]>()?;
            match name.to_string().as_str() {
                "after" => {
                    has_after = true;
                    after = Some(duration(&input.parse()?)?);
                }
                "on" => {
                    has_on = true;
                    on = Some(input.call(Ident::parse_any)?);
                }
                found => {
                    let near = nearest(found, OPTIONS).map(|near| format!(", did you mean `{near}`?"));
                    input.parse::<proc_macro2::TokenStream>()?;
                    return Err(syn::Error::new(
                        name.span(),
                        format!(
                            "`$ttl` has no option `{found}`{}",
                            near.unwrap_or_else(|| ": it takes `after` and `on`".to_owned())
                        ),
                    ));
                }
            }
            Ok(())
        });
        errors.check(option);
    }
    if !(has_after && has_on) {
        return Err(syn::Error::new(
            directive.span(),
            "`$ttl` needs how long rows stay, and the column with their time: `$ttl: { after: \"90d\", on: hour }`",
        ));
    }
    Ok(after.zip(on).map(|(after, on)| Ttl { after, on }))
}

/// The microseconds of `90s`, `30m`, `24h` or `7d`.
pub(crate) fn duration(literal: &LitStr) -> Result<i64> {
    let text = literal.value();
    let wrong = |why: &str| syn::Error::new(literal.span(), format!("`{text}` is not a duration: {why}"));
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let form = "write a number and one of the units s, m, h, d, such as `7d`";
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong(form)),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong(form));
    }
    let micros = digits.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds * 1_000_000));
    match micros {
        Some(0) => Err(wrong("rows that stay for no time are of no use")),
        Some(micros) => Ok(micros),
        None => Err(wrong("it is too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;

    #[test]
    fn durations_have_a_unit() {
        let micros = |text: &str| duration(&LitStr::new(text, Span::call_site())).ok();
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(micros(text), Some(seconds * 1_000_000), "{text}");
        }
        for text in ["", "5", "h", "-1h", "1.5h", "1w", "1 h", "0d", "+1d", "99999999999999999d", "ä"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
