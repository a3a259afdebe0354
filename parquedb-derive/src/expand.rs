//! From views to Rust.
//!
//! Three rules keep editors working inside `views!`. Values come first, since rust-analyzer completes
//! by offset and nothing that repeats a user's name may precede it. Only value tokens carry the user's
//! spans, each of them once. Fields are looked up in types through named constants, because
//! rust-analyzer does not evaluate a constant argument written in place.

mod expanded;
mod passed;
mod paths;
mod sources;
mod types;
mod values;
mod view;

use crate::errors::Errors;
use crate::{check, parse};
use proc_macro2::TokenStream;

/// Expands `views!`, with everything that went wrong beside what could be expanded.
pub(crate) fn views(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let views = parse::view::views(input, &mut errors);
    let cyclic = check::cyclic(&views);
    let views = check::check(views, &mut errors);
    let mut out = TokenStream::new();
    for view in views.iter().filter(|view| !cyclic.contains(&view.name.to_string())) {
        out.extend(view::expand(view, &mut errors));
    }
    out.extend(errors.into_tokens());
    out
}
