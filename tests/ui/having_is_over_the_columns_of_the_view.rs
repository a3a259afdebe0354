#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $groupBy: [outcome],
        $compute: { rows: $count(*) },
        $having: { row: { $gt: 10 } },
    }
}

views! {
    pub Types: {
        $from: TailEvents,
        $groupBy: [outcome],
        $compute: { rows: $count(*) },
        $having: { rows: { $gt: "10" } },
    }
}

fn main() {}
