//! Macros of ParqueDB.

mod check;
mod collection;
mod database;
mod errors;
mod expand;
mod implement;
mod names;
mod parse;
mod record;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Makes a struct a collection, a nested record, or both.
///
/// The struct needs named fields. On the struct, all optional:
///
/// - `#[collection(key = id)]`, `#[collection(key = (tenant, id))]`: rows are found by
///   these fields, of which no two are the same, and can be upserted, updated and deleted. Without a key, rows
///   are only inserted. `#[key]` on a field says the same.
/// - `#[collection(version = updated_at)]`: of rows with one key, the one with the highest value wins.
/// - `#[collection(ttl = "7d", on = timestamp)]`: rows expire so long after the time in a field; views keep what
///   they counted. A row without a time does not expire. Units are `s`, `m`, `h` and `d`.
/// - `#[collection(name = "Orders2")]`: the name of its folder, instead of the struct's.
/// - `#[collection(table = "orders")]`: the name in SQL, instead of the struct's in snake case.
///
/// On a field: `#[collection(rename = "stored_name")]`, the name of the stored column.
#[proc_macro_derive(Collection, attributes(collection, key))]
pub fn derive_collection(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    collection::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Declares views over collections, streams and other views. `parquedb::views!` has the reference.
#[proc_macro]
pub fn views(input: TokenStream) -> TokenStream {
    expand::views(input.into()).into()
}

/// Declares a database: a struct with one field for each of its collections and views.
#[proc_macro]
pub fn database(input: TokenStream) -> TokenStream {
    database::expand(input.into()).into()
}

/// [`database!`] in short.
#[proc_macro]
pub fn db(input: TokenStream) -> TokenStream {
    database::expand(input.into()).into()
}
