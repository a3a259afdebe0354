#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: { $from: Relation, $expand: [reviewers], $select: { id, login: reviewers.login } }
}

fn main() {}
