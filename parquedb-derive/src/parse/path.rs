//! Paths: `event.request.url`, `exceptions[0].name`.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, Lit, Result, Token, bracketed, token};

/// One step of a path.
#[derive(Clone)]
pub(crate) enum Step {
    Field(Ident),
    At(Lit),
}

/// `event.request.url`, `exceptions[0].name`, `tags["tier"]`.
#[derive(Clone)]
pub(crate) struct FieldPath(pub(crate) Vec<Step>);

impl FieldPath {
    pub(crate) fn span(&self) -> Span {
        match self.0.last() {
            Some(Step::Field(name)) => name.span(),
            Some(Step::At(position)) => position.span(),
            None => Span::call_site(),
        }
    }

    /// The path as the user wrote it.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for step in &self.0 {
            match step {
                Step::Field(name) if out.is_empty() => out += &name.unraw().to_string(),
                Step::Field(name) => out += &format!(".{}", name.unraw()),
                Step::At(Lit::Str(key)) => out += &format!("[{:?}]", key.value()),
                Step::At(Lit::Int(position)) => out += &format!("[{}]", position.base10_digits()),
                Step::At(_) => out += "[?]",
            }
        }
        out
    }

    /// The field that a column is named after when it has no name of its own.
    pub(crate) fn last_field(&self) -> Option<&Ident> {
        match self.0.last() {
            Some(Step::Field(name)) => Some(name),
            _ => None,
        }
    }
}

/// A field named as a keyword, `event.type`, which Rust writes `event.r#type`.
fn raw(name: Ident) -> Ident {
    let text = name.to_string();
    let cannot_be_raw = ["self", "Self", "super", "crate", "_"].contains(&text.as_str());
    if cannot_be_raw || syn::parse_str::<Ident>(&text).is_ok() {
        name
    } else {
        Ident::new_raw(&text, name.span())
    }
}

impl Parse for FieldPath {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut steps = vec![Step::Field(input.parse()?)];
        loop {
            if input.peek(Token![.]) {
                let dot = input.parse::<Token![.]>()?;
                // `event.` while typing: keep expanding, so that the editor can complete it.
                let next = if input.peek(Ident::peek_any) {
                    raw(input.call(Ident::parse_any)?)
                } else {
                    Ident::new("__", dot.span)
                };
                steps.push(Step::Field(next));
            } else if input.peek(token::Bracket) {
                let position;
                bracketed!(position in input);
                let literal: Lit = position.parse().map_err(|error| {
                    syn::Error::new(
                        error.span(),
                        "expected a position from zero (`list[0]`) or a key (`map[\"key\"]`)",
                    )
                })?;
                if !position.is_empty() || !matches!(literal, Lit::Int(_) | Lit::Str(_)) {
                    return Err(syn::Error::new(
                        literal.span(),
                        "expected a position from zero (`list[0]`) or a key (`map[\"key\"]`)",
                    ));
                }
                steps.push(Step::At(literal));
            } else {
                return Ok(FieldPath(steps));
            }
        }
    }
}
