//! Errors add up: one expansion reports every mistake it can see.

use proc_macro2::{Span, TokenStream, TokenTree};
use std::fmt::Display;
use syn::parse::{ParseStream, Parser};

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn at(&mut self, span: Span, message: impl Display) {
        self.push(syn::Error::new(span, message));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Keeps the value or records the error.
    pub(crate) fn check<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.push(error);
                None
            }
        }
    }

    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0.map(syn::Error::into_compile_error).unwrap_or_default()
    }
}

/// Splits tokens at the commas between them.
pub(crate) fn split(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for token in tokens {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => parts.push(TokenStream::new()),
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.extend([token]);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Parses all the tokens. Where they end too early, the error is at the last of them rather than at
/// the whole macro call, which is where `syn` would report it.
pub(crate) fn parse_all<T>(
    tokens: TokenStream,
    parse: impl FnOnce(ParseStream) -> syn::Result<T>,
) -> syn::Result<T> {
    let last = tokens.clone().into_iter().last().map(|token| token.span());
    Parser::parse2(parse, tokens).map_err(|error| match last {
        Some(last) if error.to_string().starts_with("unexpected end of input") => {
            syn::Error::new(last, error.to_string())
        }
        _ => error,
    })
}
