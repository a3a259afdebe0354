//! The blocks of `views!` and their directives.

use super::aggregates::Aggregate;
use super::columns::{Column, compute, group_by, select};
use super::dollar::{PLANNED, dollar, dollars, not_supported};
use super::expand::{Expansion, expand, flatten};
use super::expr::Expr;
use super::path::FieldPath;
use super::refresh::{Refresh, refresh};
use super::ttl::{Ttl, ttl};
use crate::errors::{Errors, parse_all, split};
use crate::names::nearest;
use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Ident, LitBool, Path, Result, Token, Visibility, braced, bracketed, token};

/// One view as the user wrote it.
pub(crate) struct View {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    /// The sources; the row types follow from the first.
    pub(crate) from: Vec<Path>,
    pub(crate) filter: Option<Expr>,
    /// The references whose rows are there after `$filter`.
    pub(crate) expand: Vec<Expansion>,
    /// Names of expansions by their paths (`$flatten`).
    pub(crate) flatten: Vec<(FieldPath, Ident)>,
    pub(crate) unnest: Option<Unnest>,
    pub(crate) condition: Option<Expr>,
    pub(crate) select: Option<Vec<Column>>,
    pub(crate) group_by: Option<Vec<Column>>,
    pub(crate) compute: Option<Vec<Aggregate>>,
    pub(crate) having: Option<Expr>,
    pub(crate) refresh: Option<Refresh>,
    /// `incremental: strict`.
    pub(crate) strict: bool,
    pub(crate) ttl: Option<Ttl>,
    /// Directives that were there, well-formed or not.
    pub(crate) seen: Vec<String>,
}

/// The list whose elements become rows.
pub(crate) struct Unnest {
    pub(crate) list: FieldPath,
    /// A row without elements stays, with a null one.
    pub(crate) keep_empty: bool,
    /// What expressions call the element's position.
    pub(crate) index: Option<Ident>,
}

const DIRECTIVES: [&str; 12] = [
    "from", "filter", "expand", "flatten", "unnest", "where", "select", "groupBy", "compute", "having",
    "refresh", "ttl",
];

/// All views that can be recognised.
pub(crate) fn views(tokens: TokenStream, errors: &mut Errors) -> Vec<View> {
    let mut views = Vec::new();
    let parsed = Parser::parse2(
        |input: ParseStream| {
            while !input.is_empty() {
                match view(input, errors) {
                    Ok(view) => views.push(view),
                    Err(error) => {
                        errors.push(error);
                        skip_view(input)?;
                    }
                }
                input.parse::<Option<Token![,]>>()?;
            }
            Ok(())
        },
        tokens,
    );
    errors.check(parsed);
    views
}

/// Goes on after the next block.
fn skip_view(input: ParseStream) -> Result<()> {
    while !input.is_empty() {
        if let TokenTree::Group(_) = input.parse::<TokenTree>()? {
            break;
        }
    }
    Ok(())
}

fn view(input: ParseStream, errors: &mut Errors) -> Result<View> {
    let attributes = input.call(Attribute::parse_outer)?;
    let visibility = input.parse()?;
    let name: Ident = input.parse()?;
    input.parse::<Option<Token![:]>>()?;
    if !input.peek(token::Brace) {
        return Err(syn::Error::new(
            name.span(),
            format!("view `{name}` needs its directives: `{name}: {{ $from: .. }}`"),
        ));
    }
    let mut view = View {
        attributes,
        visibility,
        name,
        from: Vec::new(),
        filter: None,
        expand: Vec::new(),
        flatten: Vec::new(),
        unnest: None,
        condition: None,
        select: None,
        group_by: None,
        compute: None,
        having: None,
        refresh: None,
        strict: false,
        ttl: None,
        seen: Vec::new(),
    };
    let body;
    braced!(body in input);
    for part in directives(body.parse()?) {
        let parsed = parse_all(part, |input| directive(&mut view, input, errors));
        errors.check(parsed);
    }
    Ok(view)
}

/// Splits a view's body where a directive starts: after a comma, or at the next `$name:`.
fn directives(tokens: TokenStream) -> Vec<TokenStream> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |position: usize, character: char| matches!(tokens.get(position), Some(TokenTree::Punct(punct)) if punct.as_char() == character);
    let mut parts: Vec<TokenStream> = Vec::new();
    let mut current = TokenStream::new();
    for (position, token) in tokens.iter().enumerate() {
        if is(position, ',') {
            parts.push(std::mem::take(&mut current));
            continue;
        }
        let starts = is(position, '$')
            && matches!(tokens.get(position + 1), Some(TokenTree::Ident(_)))
            && is(position + 2, ':')
            && !is(position + 3, ':');
        if starts {
            parts.push(std::mem::take(&mut current));
        }
        current.extend([token.clone()]);
    }
    parts.push(current);
    parts.retain(|part| !part.is_empty());
    parts
}

fn directive(view: &mut View, input: ParseStream, errors: &mut Errors) -> Result<()> {
    if !input.peek(Token![$]) {
        return Err(input.error(format!("expected a directive, one of {}", dollars(&DIRECTIVES))));
    }
    let name = dollar(input)?;
    let text = name.to_string();
    if !DIRECTIVES.contains(&text.as_str()) {
        // The value is not looked at: the name says it all.
        input.parse::<TokenStream>()?;
        return Err(unknown(&name, &text));
    }
    if view.seen.contains(&text) {
        input.parse::<TokenStream>()?;
        return Err(syn::Error::new(name.span(), format!("view `{}` already has a `${text}`", view.name)));
    }
    view.seen.push(text.clone());
    input.parse::<Token![:]>()?;
    match text.as_str() {
        "from" => {
            if input.peek(token::Bracket) {
                let sources;
                bracketed!(sources in input);
                view.from = split(sources.parse()?)
                    .into_iter()
                    .filter_map(|part| errors.check(parse_all(part, Path::parse_mod_style)))
                    .collect();
                if view.from.is_empty() {
                    errors.at(name.span(), "`$from` needs a source: a collection, a stream or a view");
                }
            } else {
                view.from = vec![input.call(Path::parse_mod_style)?];
            }
        }
        "filter" => view.filter = Some(input.parse()?),
        "expand" => view.expand = expand(&name, input, errors)?,
        "flatten" => view.flatten = flatten(&name, input, errors)?,
        "unnest" => {
            view.unnest = Some(if input.peek(token::Brace) {
                unnest(&name, input, errors)?
            } else {
                Unnest { list: input.parse()?, keep_empty: false, index: None }
            });
        }
        "where" => view.condition = Some(input.parse()?),
        "select" => view.select = Some(select(&name, input, errors)?),
        "groupBy" => view.group_by = Some(group_by(&name, input, errors)?),
        "compute" => view.compute = Some(compute(&name, input, errors)?),
        "having" => view.having = Some(input.parse()?),
        "refresh" => {
            let (refresh, is_strict) = refresh(&name, input, errors)?;
            view.refresh = Some(refresh);
            view.strict = is_strict;
        }
        "ttl" => view.ttl = ttl(&name, input, errors)?,
        _ => {}
    }
    Ok(())
}

/// `{ path: logs, keepEmpty: true, index: position }`.
fn unnest(directive: &Ident, input: ParseStream, errors: &mut Errors) -> Result<Unnest> {
    const OPTIONS: [&str; 3] = ["path", "keepEmpty", "index"];
    let options;
    braced!(options in input);
    let (mut list, mut keep_empty, mut index) = (None, false, None);
    for part in split(options.parse()?) {
        let parsed = parse_all(part, |input| {
            let option: Ident = input.parse()?;
            input.parse::<Token![:]>()?;
            match option.to_string().as_str() {
                "path" => list = Some(input.parse::<FieldPath>()?),
                "keepEmpty" => {
                    let value: LitBool = input.parse().map_err(|error| {
                        syn::Error::new(error.span(), "`keepEmpty` takes `true` or `false`")
                    })?;
                    keep_empty = value.value;
                }
                "index" => index = Some(input.parse::<Ident>()?),
                found => {
                    let near = nearest(found, OPTIONS).map(|near| format!(", did you mean `{near}`?"));
                    input.parse::<TokenStream>()?;
                    return Err(syn::Error::new(
                        option.span(),
                        format!(
                            "`$unnest` has no option `{found}`{}",
                            near.unwrap_or_else(|| ": it takes `path`, `keepEmpty` and `index`".to_owned())
                        ),
                    ));
                }
            }
            Ok(())
        });
        errors.check(parsed);
    }
    let list = list.ok_or_else(|| {
        syn::Error::new(
            directive.span(),
            "`$unnest` needs the path of a list: `{ path: logs, keepEmpty: true }`",
        )
    })?;
    Ok(Unnest { list, keep_empty, index })
}

fn unknown(name: &Ident, text: &str) -> syn::Error {
    if PLANNED.contains(&text) {
        return not_supported(name, "directives", &DIRECTIVES);
    }
    match nearest(text, DIRECTIVES) {
        Some(near) => {
            syn::Error::new(name.span(), format!("unknown directive `${text}`, did you mean `${near}`?"))
        }
        None => syn::Error::new(
            name.span(),
            format!("unknown directive `${text}`, expected one of {}", dollars(&DIRECTIVES)),
        ),
    }
}
