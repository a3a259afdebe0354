//! Every expression as a typed value: this is what the compiler checks and editors complete.

use super::types::{Scope, constant_type};
use crate::parse::aggregates::{Aggregate, Takes};
use crate::parse::constant::Constant;
use crate::parse::expr::{Arithmetic, Comparison, Expr};
use crate::parse::path::{FieldPath, Step};
use crate::parse::walk::Stage;
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

impl Scope<'_> {
    /// An expression by value: an `Expr` of its own.
    pub(crate) fn value(&mut self, expr: &Expr) -> TokenStream {
        match expr {
            Expr::Path(path) => {
                let place = self.place(path);
                quote_spanned!(path.span()=> ::parquedb::__private::expr(&#place))
            }
            Expr::Bound => quote!(__value.clone()),
            other => self.computed(other),
        }
    }

    /// An expression that methods can be called on.
    fn receiver(&mut self, expr: &Expr) -> TokenStream {
        match expr {
            Expr::Bound => quote!(__value),
            other => self.value(other),
        }
    }

    /// A reference to an expression.
    pub(crate) fn reference(&mut self, expr: &Expr) -> TokenStream {
        match expr {
            Expr::Path(path) => {
                let value = self.value(expr);
                quote_spanned!(path.span()=> &#value)
            }
            Expr::Bound => quote!(__value),
            other => {
                let value = self.computed(other);
                quote!(&#value)
            }
        }
    }

    /// The handle at the end of a path.
    fn place(&self, path: &FieldPath) -> TokenStream {
        // All of the path carries its spans, or errors point at the whole macro call.
        let is_index = self.stage == Stage::Unnested && self.view.is_index(path);
        if let (true, Some(Step::Field(index))) = (is_index, path.0.first()) {
            return fields(quote!(#index), &path.0[1..]);
        }
        let mut out = match (self.element_steps(path), path.0.first()) {
            // The element has the list's name, so that an editor can follow it.
            (Some(1), Some(Step::Field(first))) => return fields(quote!(#first), &path.0[1..]),
            (Some(steps), _) => {
                return fields(quote_spanned!(path.span()=> __element), &path.0[steps..]);
            }
            (None, Some(Step::Field(first))) => quote_spanned!(first.span()=> __row),
            (None, _) => quote!(__row),
        };
        for (at, step) in path.0.iter().enumerate() {
            out = field(out, step);
            if let Some(position) = self.position(&path.0[..=at]) {
                let many = self.expansion(position).many;
                let span = FieldPath(vec![step.clone()]).span();
                out = quote_spanned!(span=> ::parquedb::__private::seen::<#many, _>(&#out));
            }
        }
        out
    }

    /// The right side of a comparison: a constant as it stands, so that it takes the field's type.
    fn operand(&mut self, expr: &Expr) -> TokenStream {
        match expr {
            Expr::Constant(Constant::Null(_)) => quote!(::std::option::Option::None),
            Expr::Constant(constant) => tokens(constant),
            other => self.value(other),
        }
    }

    /// A condition as data.
    pub(crate) fn condition(&mut self, expr: &Expr) -> TokenStream {
        let span = span(expr);
        let value = self.value(expr);
        quote_spanned!(span=> ::parquedb::__private::condition(#value))
    }

    fn computed(&mut self, expr: &Expr) -> TokenStream {
        match expr {
            Expr::Path(_) | Expr::Bound => self.value(expr),
            Expr::Constant(constant) => self.constant(constant, &constant_type(constant)),
            Expr::Source(span) => quote_spanned!(*span=> ::parquedb::__private::source_name()),
            Expr::Tests(value, tests) => {
                let value = self.reference(value);
                let tests = self.value(tests);
                quote!({
                    let __value = #value;
                    #tests
                })
            }
            Expr::Compare(left, comparison, right, span) => {
                let (left, right) = (self.receiver(left), self.operand(right));
                let method = Ident::new(
                    match comparison {
                        Comparison::Eq => "eq",
                        Comparison::Ne => "ne",
                        Comparison::Lt => "lt",
                        Comparison::Le => "le",
                        Comparison::Gt => "gt",
                        Comparison::Ge => "ge",
                    },
                    *span,
                );
                quote_spanned!(*span=> #left.#method(#right))
            }
            Expr::In { value, list, negated } => {
                let function = format_ident!("{}", if *negated { "NotIn" } else { "In" });
                self.list(value, list, &function, &format_ident!("member"))
            }
            Expr::InMembers { value, members, condition, negated, span } => {
                let found = self.among_members(value, members, condition.as_deref(), *span);
                if *negated { quote!(#found.not()) } else { found }
            }
            Expr::All { value, list } => {
                self.list(value, list, &format_ident!("All"), &format_ident!("element"))
            }
            Expr::And(all) => {
                let all: Vec<_> = all.iter().map(|one| self.condition(one)).collect();
                quote!(::parquedb::__private::all([#(#all),*]))
            }
            Expr::Or(any) => {
                let any: Vec<_> = any.iter().map(|one| self.condition(one)).collect();
                quote!(::parquedb::__private::any([#(#any),*]))
            }
            Expr::Not(condition) => {
                let condition = self.condition(condition);
                quote!(::parquedb::__private::not(#condition))
            }
            Expr::Exists(value, exists) => {
                let value = self.reference(value);
                let test = quote!(::parquedb::__private::exists(#value));
                if *exists { test } else { quote!(#test.not()) }
            }
            Expr::TextTest(value, method, part, span) => {
                let (value, part) = (self.receiver(value), self.operand(part));
                let method = Ident::new(method, *span);
                quote_spanned!(*span=> #value.#method(#part))
            }
            Expr::Regex(value, regex) => {
                let value = self.receiver(value);
                quote!(#value.matches(#regex))
            }
            Expr::Size(value, size) => {
                let value = self.receiver(value);
                quote!(#value.size(#size))
            }
            Expr::Arithmetic(left, operator, right, span) => self.calculate(left, *operator, right, *span),
            Expr::Negate(value) => {
                let value = self.receiver(value);
                quote!(#value.negate())
            }
            Expr::Cond(..) => {
                let bare = self.common(&[expr]);
                self.chosen(expr, &bare)
            }
            Expr::Coalesce(arguments, _) => {
                let all: Vec<&Expr> = arguments.iter().collect();
                let bare = self.common(&all);
                self.chosen(expr, &bare)
            }
            Expr::Concat(parts) => {
                let parts: Vec<_> = parts
                    .iter()
                    .map(|part| {
                        let part = self.reference(part);
                        quote!(::parquedb::__private::part(#part))
                    })
                    .collect();
                quote!(::parquedb::__private::concat(::std::vec![#(#parts),*]))
            }
            Expr::TextFunction(method, value, span) => {
                let value = self.receiver(value);
                let method = Ident::new(method, *span);
                quote_spanned!(*span=> #value.#method())
            }
            Expr::Truncate(unit, value) => {
                let name = unit.to_string();
                let variant =
                    format_ident!("{}{}", name[..1].to_uppercase(), &name[1..], span = Span::call_site());
                let value = self.reference(value);
                quote!(::parquedb::__private::truncate(::parquedb::__private::TimeUnit::#variant, #value))
            }
        }
    }

    /// A constant of a known type.
    fn constant(&self, constant: &Constant, ty: &TokenStream) -> TokenStream {
        match constant {
            Constant::Null(span) => quote_spanned!(*span=> ::parquedb::__private::null::<#ty>()),
            other => {
                let value = tokens(other);
                quote!(::parquedb::__private::literal::<#ty>(#value))
            }
        }
    }

    /// Constants that are checked against the field one by one.
    fn list(&mut self, value: &Expr, list: &[Constant], function: &Ident, check: &Ident) -> TokenStream {
        let value = self.reference(value);
        let list = list.iter().map(|constant| match constant {
            Constant::Null(span) => quote_spanned!(*span=> ::parquedb::__private::NULL),
            other => {
                let constant = tokens(other);
                quote!(::parquedb::__private::#check(__value, #constant))
            }
        });
        quote!({
            let __value = #value;
            ::parquedb::__private::among(
                ::parquedb::__private::Function::#function,
                __value,
                ::std::vec![#(#list),*],
            )
        })
    }

    /// Whether a key is that of a member's row for which a condition holds. In the condition, paths start at that row.
    fn among_members(
        &mut self,
        value: &Expr,
        members: &syn::Path,
        condition: Option<&Expr>,
        span: Span,
    ) -> TokenStream {
        let value = self.reference(value);
        let mut alias = self.members(members);
        let condition = match condition {
            None => quote!(::std::option::Option::None),
            Some(condition) => {
                let condition = self.of_members(&alias, condition);
                quote!({
                    let __row = ::parquedb::__private::member_row::<#alias, _>(__value);
                    ::std::option::Option::Some(#condition)
                })
            }
        };
        alias.set_span(span);
        quote_spanned!(span=> {
            let __value = #value;
            ::parquedb::__private::among_members::<#alias, _>(__value, #condition)
        })
    }

    fn calculate(&mut self, left: &Expr, operator: Arithmetic, right: &Expr, span: Span) -> TokenStream {
        let receiver = match left.constant() {
            Some(constant) => {
                let right = self.ty(right);
                self.constant(constant, &quote!(<#right as ::parquedb::__private::Shape>::Sum))
            }
            None => self.receiver(left),
        };
        let constant = right.constant().is_some();
        let right = self.operand(right);
        let method = match operator {
            Arithmetic::Add => "plus",
            Arithmetic::Subtract => "minus",
            Arithmetic::Multiply => "times",
            Arithmetic::Divide if constant => {
                return quote!(::parquedb::__private::divided_by_nonzero(&#receiver, #right));
            }
            Arithmetic::Remainder if constant => {
                return quote!(::parquedb::__private::remainder_by_nonzero(&#receiver, #right));
            }
            Arithmetic::Divide => "divided_by",
            Arithmetic::Remainder => "remainder",
        };
        let method = Ident::new(method, span);
        quote_spanned!(span=> #receiver.#method(#right))
    }

    /// One of the values of bare type `bare` that `$cond` and `$coalesce` choose from.
    fn chosen(&mut self, expr: &Expr, bare: &TokenStream) -> TokenStream {
        match expr {
            Expr::Constant(constant) => self.constant(constant, bare),
            Expr::Cond(condition, value, otherwise, _) => {
                let condition = self.value(condition);
                let (value, otherwise) = (self.chosen(value, bare), self.chosen(otherwise, bare));
                quote!(::parquedb::__private::cond(#condition, #value, #otherwise))
            }
            Expr::Coalesce(arguments, _) => {
                let mut arguments: Vec<_> =
                    arguments.iter().map(|argument| self.chosen(argument, bare)).collect();
                let last = arguments.pop().unwrap_or_default();
                arguments
                    .into_iter()
                    .rev()
                    .fold(last, |last, argument| quote!(::parquedb::__private::coalesce(#argument, #last)))
            }
            other => self.value(other),
        }
    }

    /// An aggregate of `$compute`.
    pub(crate) fn aggregate_value(&mut self, aggregate: &Aggregate) -> TokenStream {
        let function = Ident::new(aggregate.function, aggregate.span);
        let by = aggregate.by.as_ref();
        let mut out = match &aggregate.argument {
            None => quote!(::parquedb::__private::count_rows()),
            Some(condition) if aggregate.takes == Takes::Condition => {
                let condition = self.value(condition);
                quote!(::parquedb::__private::#function(#condition))
            }
            Some(argument) => {
                let argument = self.reference(argument);
                let by = by.map(|by| self.reference(by));
                let constants = aggregate.constants.iter();
                let arguments = match aggregate.takes {
                    Takes::Value | Takes::Condition => argument,
                    Takes::Two | Takes::Ordered => quote!(#argument, #by),
                    Takes::Map => by.map_or_else(|| argument.clone(), |key| quote!(#key, #argument)),
                    Takes::Quantile => {
                        let quantile = constants.map(float);
                        quote!(#(#quantile)*, #argument)
                    }
                    Takes::Quantiles => {
                        let quantiles = constants.map(float);
                        quote!([#(#quantiles),*], #argument)
                    }
                    Takes::Size => {
                        let size = constants.map(tokens);
                        quote!(#(#size)*, #argument)
                    }
                    Takes::Bounds => {
                        let bounds = constants.map(tokens);
                        quote!(#argument, |__value| ::std::vec![#(::parquedb::__private::member(__value, #bounds)),*])
                    }
                };
                quote!(::parquedb::__private::#function(#arguments))
            }
        };
        if let Some(filter) = &aggregate.filter {
            let filter = self.value(filter);
            out = quote!(#out.filtered(#filter));
        }
        if self.is_optional(aggregate) { quote!(#out.optional()) } else { out }
    }
}

/// The handle at the end of the steps from another.
fn fields(from: TokenStream, steps: &[Step]) -> TokenStream {
    steps.iter().fold(from, field)
}

fn field(of: TokenStream, step: &Step) -> TokenStream {
    match step {
        Step::Field(name) => quote_spanned!(name.span()=> #of.#name),
        Step::At(position) => quote_spanned!(position.span()=> #of.at(#position)),
    }
}

/// The span that an error about a whole condition is reported at.
fn span(expr: &Expr) -> Span {
    match expr {
        Expr::Path(path) => path.span(),
        Expr::Constant(constant) => constant.span(),
        Expr::Compare(.., span) | Expr::Arithmetic(.., span) | Expr::Cond(.., span) => *span,
        Expr::TextFunction(.., span) | Expr::Coalesce(_, span) => *span,
        _ => Span::call_site(),
    }
}

/// The number as a float.
fn float(constant: &Constant) -> TokenStream {
    match constant {
        Constant::Int { negative, literal } => {
            let minus = negative.then(|| quote!(-));
            let mut float = Literal::f64_suffixed(literal.base10_parse().unwrap_or_default());
            float.set_span(literal.span());
            quote!(#minus #float)
        }
        other => tokens(other),
    }
}

/// The constant as Rust. An integer that an `i32` cannot hold gets its type, because the compiler takes
/// `i32` where several would do.
fn tokens(constant: &Constant) -> TokenStream {
    match constant {
        Constant::Null(_) => quote!(::std::option::Option::None),
        Constant::Bool(literal) => quote!(#literal),
        Constant::Text(literal) => quote!(#literal),
        Constant::Float { negative, literal } => {
            let minus = negative.then(|| quote!(-));
            quote!(#minus #literal)
        }
        Constant::Int { negative, literal } => {
            let minus = negative.then(|| quote!(-));
            let value = literal.base10_parse::<u64>().unwrap_or_default();
            if i32::try_from(value).is_ok() {
                return quote!(#minus #literal);
            }
            let mut typed = match (negative, i64::try_from(value)) {
                (false, Err(_)) => Literal::u64_suffixed(value),
                (_, Ok(value)) => Literal::i64_suffixed(value),
                (true, Err(_)) => return quote!(i64::MIN),
            };
            typed.set_span(literal.span());
            quote!(#minus #typed)
        }
    }
}
