//! Macros of ParqueDB. They are documented where they are re-exported, in the crate `parquedb`.

mod check;
mod database;
mod errors;
mod expand;
mod names;
mod parse;
mod record;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

#[allow(missing_docs)]
#[proc_macro_derive(Temporary)]
pub fn derive_temporary(input: TokenStream) -> TokenStream {
    record::derive(input.into()).into()
}

/// Declares materialized views.
#[proc_macro]
pub fn views(input: TokenStream) -> TokenStream {
    expand::views(input.into()).into()
}

/// Declares a database: a struct with one field for each collection and view.
#[proc_macro]
pub fn database(input: TokenStream) -> TokenStream {
    database::expand(input.into()).into()
}
