#[path = "../support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub Types: {
        $from: Relation,
        $filter: { member.is_bot: { $ne: true }, organization.owner.organization.owner: { $exists: true } },
        $select: {
            id, member, organization,
            bot: member.is_bot,
            boss: organization.owner,
            own: member.organization,
            name: member.organization.display_name,
            first: reviewers[0],
            first_login: reviewers[0].login,
            text: $coalesce(member, "nobody"),
            known: { member.login: { $exists: true } },
        },
    }
    pub Reviewers: {
        $from: Types,
        $groupBy: [member, { name: boss.organization.display_name }],
        $compute: { rows: $count(member), bosses: $countDistinct(boss.login), last: $max(boss) },
    }
}

fn main() {
    let _ = Types {
        id: 1,
        member: Ref::<Member>::new("a"),
        organization: None::<Ref<Organization>>,
        bot: None::<bool>,
        boss: None::<Ref<Member>>,
        own: None::<Ref<Organization>>,
        name: None::<String>,
        first: None::<Ref<Member>>,
        first_login: None::<String>,
        text: String::new(),
        known: true,
    };
    let _ = Reviewers {
        member: Ref::<Member>::new("a"),
        name: None::<String>,
        rows: 0u64,
        bosses: 0u64,
        last: None::<Ref<Member>>,
    };
}
