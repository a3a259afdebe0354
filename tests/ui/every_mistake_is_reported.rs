#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $filtr: outcome,
        $select: { a: $foo(outcome), outcome },
        $refresh: { mode: scheduled, schedule: "x" },
    }
}

fn main() {}
