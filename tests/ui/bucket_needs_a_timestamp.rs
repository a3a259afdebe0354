#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $groupBy: [{ hour: outcome }],
        $compute: { n: $count(*) },
    }
}

fn main() {}
