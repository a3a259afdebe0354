#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub Bots: {
        $from: Relation,
        $filter: member.is_boot,
        $select: { id },
    }
    pub Names: {
        $from: Relation,
        $select: { name: member.organization.display_nam },
    }
}

fn main() {}
