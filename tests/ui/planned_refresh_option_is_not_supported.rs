#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $select: { script_name },
        $refresh: { schedule: "0 3 * * *", stagger: "4m" },
    }
}

fn main() {}
