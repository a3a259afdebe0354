#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub Wrong: { $from: Relation, $filter: { member: { $in: Organization } }, $select: { id } }
    pub Keyless: { $from: Relation, $filter: { id: { $nin: Relation } }, $select: { id } }
    pub Field: { $from: Relation, $filter: { member: { $in: Member, $where: is_boot } }, $select: { id } }
    pub Order: { $from: Relation, $filter: { member: { $where: is_bot, $in: Member } }, $select: { id } }
}

views! {
    pub Elsewhere: {
        $from: Relation,
        $filter: { id: { $gt: 1 }, organization: { $in: Organization, $where: owner.is_bot } },
        $select: { id },
    }
}

database! {
    pub struct TooLittle { Relation, Elsewhere }
}

fn main() {}
