//! Expressions as they are written: infix operators, and what stands between them.

use super::dollar::dollar;
use super::expr::{Arithmetic, Comparison, Expr};
use super::filter;
use super::operator::operator;
use crate::errors::{parse_all, split};
use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, Lit, Result, Token, braced, parenthesized, token};

impl Parse for Expr {
    fn parse(input: ParseStream) -> Result<Self> {
        binary(input, 0)
    }
}

enum Infix {
    Or,
    And,
    Compare(Comparison),
    Arithmetic(Arithmetic),
}

/// The next infix operator, its level of precedence and its number of characters.
fn infix(input: ParseStream) -> Option<(Infix, u8, usize)> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    Some(if input.peek(Token![||]) {
        (Infix::Or, 1, 2)
    } else if input.peek(Token![&&]) {
        (Infix::And, 2, 2)
    } else if input.peek(Token![==]) {
        (Infix::Compare(Eq), 3, 2)
    } else if input.peek(Token![!=]) {
        (Infix::Compare(Ne), 3, 2)
    } else if input.peek(Token![>=]) {
        (Infix::Compare(Ge), 3, 2)
    } else if input.peek(Token![<=]) {
        (Infix::Compare(Le), 3, 2)
    } else if input.peek(Token![>]) {
        (Infix::Compare(Gt), 3, 1)
    } else if input.peek(Token![<]) {
        (Infix::Compare(Lt), 3, 1)
    } else if input.peek(Token![+]) {
        (Infix::Arithmetic(Add), 4, 1)
    } else if input.peek(Token![-]) {
        (Infix::Arithmetic(Subtract), 4, 1)
    } else if input.peek(Token![*]) {
        (Infix::Arithmetic(Multiply), 5, 1)
    } else if input.peek(Token![/]) {
        (Infix::Arithmetic(Divide), 5, 1)
    } else if input.peek(Token![%]) {
        (Infix::Arithmetic(Remainder), 5, 1)
    } else {
        return None;
    })
}

fn binary(input: ParseStream, above: u8) -> Result<Expr> {
    let mut left = unary(input)?;
    while let Some((operator, level, width)) = infix(input) {
        if level <= above {
            break;
        }
        let span = input.span();
        for _ in 0..width {
            input.parse::<proc_macro2::Punct>()?;
        }
        let right = binary(input, level)?;
        left = match operator {
            Infix::Or => match left {
                Expr::Or(mut all) => {
                    all.push(right);
                    Expr::Or(all)
                }
                left => Expr::Or(vec![left, right]),
            },
            Infix::And => match left {
                Expr::And(mut all) => {
                    all.push(right);
                    Expr::And(all)
                }
                left => Expr::And(vec![left, right]),
            },
            Infix::Compare(comparison) => Expr::compare(left, comparison, right, span)?,
            Infix::Arithmetic(operator) => Expr::arithmetic(left, operator, right, span)?,
        };
    }
    Ok(left)
}

fn unary(input: ParseStream) -> Result<Expr> {
    if input.peek(Token![!]) {
        input.parse::<Token![!]>()?;
        return Ok(Expr::Not(unary(input)?.into()));
    }
    if input.peek(Token![-]) && !input.peek2(Lit) {
        input.parse::<Token![-]>()?;
        return Ok(Expr::Negate(unary(input)?.into()));
    }
    atom(input)
}

fn atom(input: ParseStream) -> Result<Expr> {
    if input.peek(Token![$]) {
        let name = dollar(input)?;
        if name == "source" && !input.peek(token::Paren) {
            return Ok(Expr::Source(name.span()));
        }
        if name == "switch" {
            let arms;
            braced!(arms in input);
            return switch(&name, arms.parse()?);
        }
        if !input.peek(token::Paren) {
            return Err(syn::Error::new(
                name.span(),
                format!("`${name}` needs its arguments: `${name}(..)`"),
            ));
        }
        let arguments;
        parenthesized!(arguments in input);
        return operator(&name, list(arguments.parse()?)?);
    }
    if input.peek(token::Paren) {
        let inner;
        parenthesized!(inner in input);
        let expr = inner.parse()?;
        return if inner.is_empty() { Ok(expr) } else { Err(inner.error("expected an operator or `)`")) };
    }
    if input.peek(token::Brace) {
        let body;
        braced!(body in input);
        return filter::object(body.parse()?, body.span());
    }
    if input.peek(Lit) || input.peek(Token![-]) {
        return Ok(Expr::Constant(input.parse()?));
    }
    if input.peek(Ident) && !input.peek2(Token![.]) && !input.peek2(token::Bracket) {
        let fork = input.fork();
        if fork.parse::<Ident>()? == "null" {
            return Ok(Expr::Constant(input.parse()?));
        }
    }
    if !input.peek(Ident::peek_any) {
        return Err(input.error("expected a field, a constant or an `$operator`"));
    }
    Ok(Expr::Path(input.parse()?))
}

/// Comma-separated expressions.
pub(crate) fn list(tokens: TokenStream) -> Result<Vec<Expr>> {
    split(tokens).into_iter().map(|part| parse_all(part, Expr::parse)).collect()
}

/// `{ condition => value, …, _ => value }`.
fn switch(name: &Ident, tokens: TokenStream) -> Result<Expr> {
    let mut arms = Vec::new();
    let mut otherwise = None;
    for part in split(tokens) {
        parse_all(part, |arm| {
            if arm.peek(Token![_]) {
                arm.parse::<Token![_]>()?;
                arm.parse::<Token![=>]>()?;
                otherwise = Some(arm.parse::<Expr>()?);
            } else {
                let condition: Expr = arm.parse()?;
                arm.parse::<Token![=>]>()?;
                arms.push((condition, arm.parse::<Expr>()?));
            }
            Ok(())
        })?;
    }
    let otherwise = otherwise.ok_or_else(|| {
        syn::Error::new(name.span(), "`$switch` needs a final arm for everything else: `_ => ..`")
    })?;
    Ok(arms.into_iter().rev().fold(otherwise, |otherwise, (condition, value)| {
        Expr::Cond(condition.into(), value.into(), otherwise.into(), name.span())
    }))
}
