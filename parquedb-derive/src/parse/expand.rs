//! `$expand` and `$flatten`.

use super::path::FieldPath;
use crate::errors::{Errors, parse_all, split};
use crate::names::nearest;
use proc_macro2::Span;
use syn::parse::ParseStream;
use syn::{Ident, Result, Token, braced, bracketed, token};

/// A reference whose row is expanded.
pub(crate) struct Expansion {
    pub(crate) path: FieldPath,
    /// What the row is called. The parser leaves the path's last field there.
    pub(crate) name: Ident,
    /// `asOf`: the row stays as it was when the source row came. The place where that is said.
    pub(crate) as_of_ingest: Option<Span>,
}

const TIMES: [&str; 2] = ["live", "asOf"];

/// `[customer, customer.company]`, `{ customer: asOf, customer.company: live }`.
pub(crate) fn expand(directive: &Ident, input: ParseStream, errors: &mut Errors) -> Result<Vec<Expansion>> {
    let body;
    let tells_time = input.peek(token::Brace);
    if tells_time {
        braced!(body in input);
    } else if input.peek(token::Bracket) {
        bracketed!(body in input);
    } else {
        return Err(syn::Error::new(
            directive.span(),
            "`$expand` takes references: `$expand: [customer, customer.company]` or `$expand: { customer: asOf }`",
        ));
    }
    let parts = split(body.parse()?);
    if parts.is_empty() {
        errors.at(directive.span(), "`$expand` needs at least one reference");
    }
    let expansion = |input: ParseStream| {
        let path: FieldPath = input.parse()?;
        let name = path.last_field().cloned().unwrap_or_else(|| Ident::new("__", Span::call_site()));
        let as_of_ingest = if tells_time { time(input)? } else { None };
        Ok(Expansion { path, name, as_of_ingest })
    };
    Ok(parts.into_iter().filter_map(|part| errors.check(parse_all(part, expansion))).collect())
}

/// `: live` or `: asOf`.
fn time(input: ParseStream) -> Result<Option<Span>> {
    input.parse::<Token![:]>()?;
    let time: Ident = input.parse()?;
    let found = time.to_string();
    match found.as_str() {
        "live" => Ok(None),
        "asOf" => Ok(Some(time.span())),
        _ => {
            let near =
                nearest(&found, TIMES).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
            Err(syn::Error::new(
                time.span(),
                format!("a reference is expanded `live`, or `asOf` ingest, but not `{found}`{near}"),
            ))
        }
    }
}

/// `{ customer: buyer, customer.company: employer }`.
pub(crate) fn flatten(
    directive: &Ident,
    input: ParseStream,
    errors: &mut Errors,
) -> Result<Vec<(FieldPath, Ident)>> {
    if !input.peek(token::Brace) {
        return Err(syn::Error::new(
            directive.span(),
            "`$flatten` takes an object of names: `$flatten: { customer: buyer }`",
        ));
    }
    let body;
    braced!(body in input);
    let name = |input: ParseStream| {
        let path: FieldPath = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok((path, input.parse()?))
    };
    let parts = split(body.parse()?);
    Ok(parts.into_iter().filter_map(|part| errors.check(parse_all(part, name))).collect())
}
