#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub Bots: { $from: Relation, $filter: reviewers.is_bot, $select: { id } }
}

fn main() {}
