#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: {
        $from: Relation,
        $expand: [member, organization, member],
        $flatten: { member: who, organization: who },
        $select: { id },
    }
}

fn main() {}
