#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Lines: {
        $from: TailEvents,
        $unnest: logs,
    }
    pub Both: {
        $from: [TailEvents, Lines],
    }
}

fn main() {}
