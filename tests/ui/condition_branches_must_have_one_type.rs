#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $select: { value: $cond(outcome == "ok", outcome, retries) },
    }
}

fn main() {}
