#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: {
        $from: Relation,
        $expand: { reviewers: live, reviewers[0].organization: asOf },
        $flatten: { reviewers[0].organization: first },
        $select: { id },
    }
}

fn main() {}
