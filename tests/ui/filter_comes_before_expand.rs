#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: {
        $from: Relation,
        $filter: { who.is_bot: { $ne: true } },
        $expand: [member],
        $flatten: { member: who },
        $select: { id },
    }
}

fn main() {}
