//! Constants: `null`, `true`, `"text"`, `-5`, `0.5`.

use crate::errors::{parse_all, split};
use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::{Ident, Lit, LitBool, LitInt, LitStr, Result, Token};

/// A constant.
#[derive(Clone)]
pub(crate) enum Constant {
    Null(Span),
    Bool(LitBool),
    Text(LitStr),
    Int { negative: bool, literal: LitInt },
    Float { negative: bool, literal: syn::LitFloat },
}

impl Constant {
    pub(crate) fn span(&self) -> Span {
        match self {
            Constant::Null(span) => *span,
            Constant::Bool(literal) => literal.span,
            Constant::Text(literal) => literal.span(),
            Constant::Int { literal, .. } => literal.span(),
            Constant::Float { literal, .. } => literal.span(),
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        match self {
            Constant::Int { literal, .. } => literal.base10_parse::<u64>().is_ok_and(|value| value == 0),
            Constant::Float { literal, .. } => literal.base10_parse::<f64>().is_ok_and(|value| value == 0.0),
            _ => false,
        }
    }

    fn from_literal(literal: Lit, negative: bool) -> Result<Self> {
        match literal {
            Lit::Int(literal) => {
                let in_range = if negative {
                    literal.base10_parse::<u64>().is_ok_and(|value| value <= i64::MIN.unsigned_abs())
                } else {
                    literal.base10_parse::<u64>().is_ok()
                };
                if !in_range {
                    return Err(syn::Error::new(literal.span(), "this number does not fit into 64 bits"));
                }
                if !literal.suffix().is_empty() {
                    return Err(syn::Error::new(
                        literal.span(),
                        "write the number without a type: it takes the field's",
                    ));
                }
                Ok(Constant::Int { negative, literal })
            }
            Lit::Float(literal) if literal.suffix().is_empty() => Ok(Constant::Float { negative, literal }),
            Lit::Str(literal) if !negative => Ok(Constant::Text(literal)),
            Lit::Bool(literal) if !negative => Ok(Constant::Bool(literal)),
            other => {
                Err(syn::Error::new(other.span(), "expected a number, a text, `true`, `false` or `null`"))
            }
        }
    }
}

impl Parse for Constant {
    fn parse(input: ParseStream) -> Result<Self> {
        let negative = input.parse::<Option<Token![-]>>()?.is_some();
        if !negative && input.peek(Ident) {
            let name: Ident = input.parse()?;
            if name == "null" {
                return Ok(Constant::Null(name.span()));
            }
            return Err(syn::Error::new(
                name.span(),
                "expected a constant: a number, a text, `true`, `false` or `null`",
            ));
        }
        let literal: Lit = input.parse().map_err(|error| {
            syn::Error::new(error.span(), "expected a constant: a number, a text, `true`, `false` or `null`")
        })?;
        Self::from_literal(literal, negative)
    }
}

/// Comma-separated constants.
pub(crate) fn constants(tokens: TokenStream, name: &Ident) -> Result<Vec<Constant>> {
    let list: Vec<_> =
        split(tokens).into_iter().map(|part| parse_all(part, Constant::parse)).collect::<Result<_>>()?;
    if list.is_empty() {
        return Err(syn::Error::new(name.span(), format!("`${name}` needs at least one value")));
    }
    Ok(list)
}
