//! The Rust type of every expression, inferred from the source by projections through `Shape`.

use super::paths::target;
use crate::parse::aggregates::Aggregate;
use crate::parse::constant::Constant;
use crate::parse::expr::{Arithmetic, Expr};
use crate::parse::view::View;
use crate::parse::walk::Stage;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use std::collections::BTreeMap;
use syn::Path;
use syn::ext::IdentExt;

/// The aggregates that are null of no values and follow the nullability of their argument, as functions
/// of `parquedb::__private`.
const OF_SOME_VALUES: [&str; 16] = [
    "avg",
    "median",
    "quantile",
    "quantiles",
    "quantile_exact",
    "min",
    "max",
    "any_value",
    "first",
    "last",
    "arg_min",
    "arg_max",
    "all_true",
    "any_true",
    "bit_and",
    "bit_or",
];

/// The names a view's expansion has defined so far.
pub(crate) struct Scope<'a> {
    pub(crate) view: &'a View,
    /// What paths start from.
    source: Ident,
    /// Begins the names that are defined here.
    prefix: String,
    /// The types of members that conditions look into other than by paths from the sources' rows.
    pub(crate) members: Vec<TokenStream>,
    /// Type and nullability of each path prefix; prefixes after the unnest begin with `*`.
    pub(super) aliases: BTreeMap<String, (Ident, Ident)>,
    /// The definitions, to be emitted after the values.
    pub(crate) tokens: TokenStream,
    /// Which rows paths are over.
    pub(crate) stage: Stage,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(view: &'a View) -> Self {
        let source = generated(view, "Source");
        Self {
            view,
            source,
            prefix: String::new(),
            members: Vec::new(),
            aliases: BTreeMap::new(),
            tokens: TokenStream::new(),
            stage: Stage::Filtered,
        }
    }

    /// The scope of a condition over the view's own rows.
    pub(crate) fn of_rows(view: &'a View) -> Self {
        let mut source = view.name.clone();
        source.set_span(Span::call_site());
        Self { source, prefix: "H".to_owned(), ..Self::new(view) }
    }

    /// Names a collection that a key is looked for in.
    pub(crate) fn members(&mut self, path: &Path) -> Ident {
        let name = self.name(&format!("M{}", self.members.len()));
        self.tokens.extend(quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            type #name = #path;
        });
        self.members.push(quote!(#name));
        name
    }

    /// A condition over the rows of such a collection.
    pub(crate) fn of_members(&mut self, members: &Ident, condition: &Expr) -> TokenStream {
        let prefix = format!("{}M{}_", self.prefix, self.members.len());
        let mut inner = Self { source: members.clone(), prefix, ..Self::new(self.view) };
        let value = inner.condition(condition);
        condition.walk(&mut |part| {
            if let Expr::Path(path) = part {
                let holders = inner.holders(path, Stage::Filtered);
                inner.members.extend(holders.iter().map(target));
            }
        });
        self.tokens.extend(inner.tokens);
        self.members.extend(inner.members);
        value
    }

    /// Checks that no path of a condition over the view's own rows looks through a reference.
    pub(crate) fn only_own_columns(&mut self, condition: Option<&Expr>) {
        let mut paths = Vec::new();
        if let Some(condition) = condition {
            condition.walk(&mut |part| {
                if let Expr::Path(path) = part {
                    paths.push(path);
                }
            });
        }
        for path in paths {
            let message = format!(
                "view `{}`: `$having` tests the view's own columns, but `{text}` looks through a reference: make it \
                 a key of `$groupBy` and test that",
                self.view.name,
                text = path.text(),
            );
            for holder in self.holders(path, Stage::Filtered) {
                self.tokens.extend(quote_spanned! {self.view.name.span()=>
                    const _: () = ::std::assert!(!::parquedb::__private::is_reference::<#holder>(), #message);
                });
            }
        }
    }

    pub(crate) fn source(&self) -> Ident {
        self.source.clone()
    }

    pub(crate) fn name(&self, suffix: &str) -> Ident {
        generated(self.view, &format!("{}{suffix}", self.prefix))
    }

    pub(crate) fn ty(&mut self, expr: &Expr) -> TokenStream {
        match expr {
            Expr::Path(path) => self.path(path),
            Expr::Constant(constant) => constant_type(constant),
            Expr::Arithmetic(left, operator, right, _) => self.arithmetic(left, *operator, right),
            Expr::Negate(value) => {
                let value = self.ty(value);
                quote!(::parquedb::__private::Difference<#value, #value>)
            }
            Expr::Cond(_, value, otherwise, _) => {
                let bare = self.common(&[value, otherwise]);
                let (value, otherwise) = (self.choice(value, &bare), self.choice(otherwise, &bare));
                quote!(::parquedb::__private::Chosen<#value, #otherwise>)
            }
            Expr::Coalesce(arguments, _) => {
                let all: Vec<&Expr> = arguments.iter().collect();
                let bare = self.common(&all);
                let last = arguments.last().map(|last| self.choice(last, &bare)).unwrap_or_default();
                quote!(::parquedb::__private::Mapped<#last, #bare>)
            }
            Expr::Concat(_) | Expr::Source(_) => quote!(::std::string::String),
            Expr::TextFunction("length", value, _) => {
                let value = self.ty(value);
                quote!(::parquedb::__private::Mapped<#value, u64>)
            }
            Expr::TextFunction(_, value, _) | Expr::Truncate(_, value) => self.ty(value),
            _ => quote!(bool),
        }
    }

    fn arithmetic(&mut self, left: &Expr, operator: Arithmetic, right: &Expr) -> TokenStream {
        // A constant takes the type of the other side.
        let constant = right.constant().is_some();
        let (left, right) = match (left.constant(), constant) {
            (Some(_), _) => {
                let right = self.ty(right);
                (quote!(<#right as ::parquedb::__private::Shape>::Sum), right)
            }
            (None, true) => {
                let left = self.ty(left);
                (left.clone(), quote!(<#left as ::parquedb::__private::Shape>::Sum))
            }
            (None, false) => (self.ty(left), self.ty(right)),
        };
        match operator {
            Arithmetic::Add | Arithmetic::Multiply => {
                quote!(::parquedb::__private::Calculated<#left, #right>)
            }
            Arithmetic::Subtract => quote!(::parquedb::__private::Difference<#left, #right>),
            Arithmetic::Divide if constant => quote!(<#left as ::parquedb::__private::Shape>::Mean),
            Arithmetic::Divide => quote!(::std::option::Option<f64>),
            Arithmetic::Remainder if constant => quote! {
                ::parquedb::__private::Mapped<#left, <#left as ::parquedb::__private::Shape>::Sum>
            },
            Arithmetic::Remainder => quote! {
                <<#left as ::parquedb::__private::Shape>::Sum as ::parquedb::__private::Shape>::Optional
            },
        }
    }

    /// The bare type that `$cond` and `$coalesce` choose values of: that of the first field among them,
    /// else that of the constants.
    pub(crate) fn common(&mut self, choices: &[&Expr]) -> TokenStream {
        let mut leaves = Vec::new();
        for choice in choices {
            leaves_of(choice, &mut leaves);
        }
        if let Some(field) = leaves.iter().find(|leaf| leaf.constant().is_none()) {
            let field = self.ty(field);
            return quote!(<#field as ::parquedb::__private::Shape>::Bare);
        }
        let constants: Vec<&Constant> = leaves.iter().filter_map(|leaf| leaf.constant()).collect();
        if constants.iter().any(|constant| matches!(constant, Constant::Float { .. })) {
            return quote!(f64);
        }
        constants
            .iter()
            .find(|constant| !matches!(constant, Constant::Null(_)))
            .map_or_else(|| quote!(::parquedb::__private::Unknown), |constant| constant_type(constant))
    }

    /// The type of one of the values of bare type `bare` to choose from.
    pub(crate) fn choice(&mut self, choice: &Expr, bare: &TokenStream) -> TokenStream {
        match choice {
            Expr::Constant(Constant::Null(_)) => quote!(<#bare as ::parquedb::__private::Shape>::Optional),
            Expr::Constant(_) => bare.clone(),
            Expr::Cond(_, value, otherwise, _) => {
                let (value, otherwise) = (self.choice(value, bare), self.choice(otherwise, bare));
                quote!(::parquedb::__private::Chosen<#value, #otherwise>)
            }
            other => self.ty(other),
        }
    }

    /// The type an aggregate yields.
    pub(crate) fn aggregate(&mut self, aggregate: &Aggregate) -> TokenStream {
        let Some(argument) = &aggregate.argument else { return quote!(u64) };
        let argument = self.ty(argument);
        let ty = match aggregate.function {
            "sum" => return quote!(<#argument as ::parquedb::__private::Shape>::Sum),
            "variance" | "stddev" | "corr" => return quote!(::std::option::Option<f64>),
            "top_k" | "collect" | "collect_set" => {
                return quote!(::std::vec::Vec<<#argument as ::parquedb::__private::Shape>::Bare>);
            }
            "sum_map" | "sum_by_key" => {
                let value = match aggregate.function {
                    "sum_map" => quote!(<#argument as ::parquedb::__private::Shape>::Item),
                    _ => argument,
                };
                let sum = quote!(<#value as ::parquedb::__private::Shape>::Sum);
                return quote!(::std::collections::BTreeMap<::std::string::String, #sum>);
            }
            "histogram" => return quote!(::std::vec::Vec<u64>),
            "avg" | "median" | "quantile" => quote!(<#argument as ::parquedb::__private::Shape>::Mean),
            "quantiles" => quote!(::parquedb::__private::Mapped<#argument, ::std::vec::Vec<f64>>),
            "arg_min" | "arg_max" => {
                let by = aggregate.by.as_ref().map(|by| self.ty(by));
                quote!(::parquedb::__private::Chosen<#argument, #by>)
            }
            function if OF_SOME_VALUES.contains(&function) => argument,
            _ => return quote!(u64),
        };
        if self.is_optional(aggregate) { quote!(<#ty as ::parquedb::__private::Shape>::Optional) } else { ty }
    }

    /// Whether a group may have no value for the aggregate although its argument is never null.
    pub(crate) fn is_optional(&self, aggregate: &Aggregate) -> bool {
        OF_SOME_VALUES.contains(&aggregate.function)
            && (aggregate.filter.is_some() || self.view.group_by.is_none())
    }
}

/// A name of the view's expansion.
fn generated(view: &View, suffix: &str) -> Ident {
    format_ident!("__{}_{}", view.name.unraw(), suffix, span = Span::call_site())
}

fn leaves_of<'e>(expr: &'e Expr, leaves: &mut Vec<&'e Expr>) {
    match expr {
        Expr::Cond(_, value, otherwise, _) => {
            leaves_of(value, leaves);
            leaves_of(otherwise, leaves);
        }
        Expr::Coalesce(arguments, _) => arguments.iter().for_each(|argument| leaves_of(argument, leaves)),
        other => leaves.push(other),
    }
}

/// The type of a constant that stands for itself.
pub(crate) fn constant_type(constant: &Constant) -> TokenStream {
    match constant {
        Constant::Null(_) => quote!(::parquedb::__private::Unknown),
        Constant::Bool(_) => quote!(bool),
        Constant::Text(_) => quote!(::std::string::String),
        Constant::Float { .. } => quote!(f64),
        Constant::Int { negative: false, literal } if literal.base10_parse::<i64>().is_err() => quote!(u64),
        Constant::Int { .. } => quote!(i64),
    }
}
