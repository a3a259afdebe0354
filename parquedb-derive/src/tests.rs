//! What the macros expand to, formatted. A snapshot that changes is a change of the contract between the
//! macros and the library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proc_macro2::TokenStream;

fn format(expansion: TokenStream) -> String {
    let file = syn::parse2(expansion).expect("the expansion is Rust");
    prettyplease::unparse(&file)
}

/// The expansion of `views!` without the row's implementations, which `derive(Collection)` shares.
fn views(declaration: &str) -> String {
    let text = format(crate::expand::views(declaration.parse().unwrap()));
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "const _: () = {" {
            for line in lines.by_ref() {
                if line == "};" {
                    break;
                }
            }
            out += "// the implementations of the row\n";
            continue;
        }
        out += line;
        out.push('\n');
    }
    out
}

#[test]
fn select_with_unnest() {
    insta::assert_snapshot!(views(
        r#"
        /// One row per log line.
        pub WorkerLogs: {
            $from: TailEvents,
            $filter: { outcome: { $ne: "ok" } },
            $unnest: logs,
            $where: logs.level == "error",
            $select: { script_name, level: logs.level, colo: event.request.cf.colo },
        }
        "#
    ));
}

#[test]
fn groups_with_a_schedule() {
    insta::assert_snapshot!(views(
        r#"
        pub EndpointMetrics: {
            $from: WorkerRequests,
            $groupBy: [script_name, { hour: timestamp }],
            $compute: {
                request_count: { $count: * },
                avg_latency: { $avg: latency, $filter: { status: { $gte: 200, $lt: 300 } } },
                error_rate: { $avg: { $cond: [{ $ne: [outcome, "ok"] }, 1, 0] } },
            },
            $refresh: { mode: scheduled, schedule: "0 * * * *", tz: "Europe/Paris" },
        }
        "#
    ));
}

#[test]
fn groups_of_a_size() {
    insta::assert_snapshot!(views(
        r#"
        pub Busy: {
            $from: Requests,
            $groupBy: [worker],
            $compute: { requests: $count(*) },
            $having: { requests: { $gt: 10 } },
        }
        "#
    ));
}

#[test]
fn union_of_two_sources() {
    insta::assert_snapshot!(views(
        "pub All: { $from: [Hits, web::Clicks], $filter: $source != \"Hits\", $select: { kind: $source, page } }"
    ));
}

#[test]
fn unnest_with_options() {
    insta::assert_snapshot!(views(
        "pub Lines: {
            $from: Requests,
            $unnest: { path: logs, keepEmpty: true, index: line },
            $where: line < 100,
            $select: { level: logs.level, line },
        }"
    ));
}

#[test]
fn rows_with_those_they_refer_to() {
    insta::assert_snapshot!(format(crate::expand::views(
        "pub Sold: {
            $from: Order,
            $expand: { customer: asOf, customer.company: live },
            $flatten: { customer: buyer },
        }"
        .parse()
        .unwrap()
    )));
}

#[test]
fn names_of_expansions() {
    insta::assert_snapshot!(views(
        "pub Named: {
            $from: Order,
            $expand: [customer, customer.company],
            $flatten: { customer.company: shop },
            $where: shop.rank > 3,
            $select: { name: customer.name, shop: shop.name },
        }"
    ));
}

#[test]
fn lists_of_the_rows_they_refer_to() {
    insta::assert_snapshot!(views(
        "pub Tagged: {
            $from: Post,
            $expand: { tags: live, author: live, author.tags: asOf },
            $flatten: { author: writer },
            $unnest: tags,
            $select: { name: tags.name, first: writer_tags[0].name, author },
        }"
    ));
}

#[test]
fn rows_of_the_source() {
    insta::assert_snapshot!(format(crate::expand::views("pub All: { $from: Order }".parse().unwrap())));
}

#[test]
fn collection_with_a_key() {
    let declaration = syn::parse_quote! {
        /// A visit.
        #[collection(key = id)]
        pub struct Visit {
            /// What tells it apart.
            #[collection(rename = "key")]
            pub id: u32,
            pub page: Option<String>,
        }
    };
    insta::assert_snapshot!(format(crate::collection::expand(&declaration).unwrap()));
}

#[test]
fn both_spellings_are_one_view() {
    let spelled =
        |filter: &str| views(&format!("V: {{ $from: [T, U], $filter: {filter}, $select: {{ a }} }}"));
    for pair in [
        [r#"{ a: "x" }"#, r#"{ a: { $eq: "x" } }"#],
        [r#"{ $ne: [a, "x"] }"#, r#"$ne(a, "x")"#],
        ["{ $or: [a > 1, b] }", "a > 1 || b"],
        ["{ $or: [{ a: { $gt: 1 } }, b] }", "a > 1 || b"],
        ["{ $and: [a, b] }", "a && b"],
        ["{ a: null }", "{ a: { $exists: false } }"],
        ["a != null", "$exists(a)"],
        ["{ $not: a == 1 }", "!(a == 1)"],
        ["{ a: { $lt: $add(b, c) } }", "a < b + c"],
        ["1 < a", "a > 1"],
        [r#"{ $source: "A" }"#, r#"$source == "A""#],
    ] {
        assert_eq!(spelled(pair[0]), spelled(pair[1]), "{} and {}", pair[0], pair[1]);
    }
}

#[test]
fn a_half_written_view_still_expands() {
    let text = views("V: { $from: T, $filter: event., $select: { a, b: , c }, $compu }");
    assert!(text.contains("__row.event.__"), "{text}");
    assert!(text.contains("pub a:") && text.contains("pub c:"), "{text}");
    assert_eq!(text.matches("compile_error").count(), 2, "{text}");
}

#[test]
fn database_with_two_members() {
    insta::assert_snapshot!(format(crate::database::expand(
        r#"
        /// What the workers did.
        pub struct ObsDb { TailEvents, views::WorkerLogs }
        "#
        .parse()
        .unwrap()
    )));
}
