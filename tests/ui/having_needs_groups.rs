#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Errors: {
        $from: TailEvents,
        $select: { outcome },
        $having: { outcome: { $ne: "ok" } },
    }
}

fn main() {}
