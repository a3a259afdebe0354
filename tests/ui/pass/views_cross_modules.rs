#[path = "../support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

mod views_of_tail {
    parquedb::views! {
        #[allow(clippy::all)]
        pub(crate) Urls: {
            $from: crate::tail::TailEvents
            $unnest: logs
            $where: { logs.level: { $in: ["warn", "error"] } }
            $select: {
                /// Where it happened.
                url: event.url,
                logs,
                first: $coalesce(event.url, script_name, "none"),
            }
        }
    }
}

database! {
    /// Two members.
    pub struct ObsDb { TailEvents, views_of_tail::Urls }
}

fn main() {
    let row = views_of_tail::Urls {
        url: Some("https://example.com".to_owned()),
        logs: LogLine { level: String::new(), message: String::new() },
        first: String::new(),
    };
    let _: Option<String> = row.url;
}
