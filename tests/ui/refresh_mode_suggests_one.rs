#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $select: { script_name },
        $refresh: { mode: schedule },
    }
}

fn main() {}
