//! Views over several members: unions and references, and what is decided over a view's own rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::{Collection, Ref, database, views};

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) page: String,
    pub(crate) millis: i64,
}

views! {
    pub(crate) Busy: {
        $from: Hit,
        $groupBy: [page],
        $compute: { hits: $count(*), slowest: $max(millis) },
        $having: { hits: { $gt: 1 }, page: { $ne: "/health" } },
    }
    pub(crate) Pages: {
        $from: Hit,
        $groupBy: [page],
        $having: $length(page) + 1 > 3,
    }
    /// A condition that never holds, as DataFusion finds out.
    pub(crate) Never: {
        $from: Hit,
        $compute: { hits: $count(*), pages: $collect(page) },
        $having: { pages: { $size: 1 }, $and: [{ pages: { $size: 2 } }] },
    }
    pub(crate) Slowest: {
        $from: Busy,
        $compute: { slowest: $max(slowest) },
        $having: slowest != null,
        $refresh: { mode: manual },
    }
}

database! { pub(crate) struct Web { Hit, Busy, Pages, Never, Slowest } }

fn hit(page: &str, millis: i64) -> Hit {
    Hit { page: page.into(), millis }
}

#[tokio::test]
async fn having_decides_over_the_rows_of_the_view() {
    let db = Web::open("memory:///").await.unwrap();
    db.slowest.refresh().await.unwrap();
    assert_eq!(db.slowest.all().await.unwrap(), [], "the one group has nothing");
    db.hit.insert_many([hit("/a", 5), hit("/b", 7), hit("/health", 9), hit("/health", 9)]).await.unwrap();
    assert_eq!(db.busy.all().await.unwrap(), []);
    assert_eq!(db.never.all().await.unwrap(), []);
    db.hit.insert_many([hit("/a", 30)]).await.unwrap();
    let busy = [Busy { page: "/a".into(), hits: 2, slowest: 30 }];
    assert_eq!(db.busy.all().await.unwrap(), busy, "a group that was too small before");
    assert_eq!(db.busy.find(|row| row.hits.ge(2)).await.unwrap(), busy);
    assert_eq!(db.pages.all().await.unwrap(), [Pages { page: "/health".into() }]);
    db.slowest.refresh().await.unwrap();
    assert_eq!(
        db.slowest.all().await.unwrap(),
        [Slowest { slowest: Some(30) }],
        "a view over it sees the same"
    );
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Click {
    pub(crate) millis: i64,
    pub(crate) page: String,
    pub(crate) button: Option<u8>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Scroll {
    pub(crate) page: String,
    pub(crate) far: f64,
    pub(crate) millis: i64,
}

views! {
    /// Everything that happened, told apart.
    pub(crate) Activity: {
        $from: [Hit, Click, Scroll],
        $filter: $or(millis > 3, $source != "Hit"),
        $select: { kind: $source, page, seconds: millis / 1000 },
        $refresh: { mode: manual },
    }
    pub(crate) Kinds: {
        $from: [Click, Scroll],
        $groupBy: [{ kind: $lower($source) }],
        $compute: {
            rows: $count(*),
            slow: $count(*, $filter: { millis: { $gt: 3 }, $source: { $in: ["Click", "Hit"] } }),
        },
        $refresh: { mode: manual },
    }
    pub(crate) Number: {
        $from: [Activity, Busier],
        $compute: { rows: $count(*) },
        $refresh: { mode: manual },
    }
    pub(crate) Busier: {
        $from: Hit,
        $groupBy: [page],
        $refresh: { mode: manual },
    }
}

database! { pub(crate) struct Site { Hit, Click, Scroll, Activity, Kinds, Number, Busier } }

#[tokio::test]
async fn union_takes_the_rows_of_all_sources() {
    let db = Site::open("memory:///").await.unwrap();
    db.hit.insert_many([hit("/a", 1), hit("/b", 5000)]).await.unwrap();
    let clicks = [(2, "/a"), (4, "/c")];
    let clicks = clicks.map(|(millis, page)| Click { millis, page: page.into(), button: None });
    db.click.insert_many(clicks).await.unwrap();
    db.scroll.insert_many([Scroll { page: "/b".into(), far: 0.5, millis: 9000 }]).await.unwrap();
    for view in [&db.activity.refresh().await, &db.kinds.refresh().await, &db.busier.refresh().await] {
        assert!(view.as_ref().unwrap());
    }
    assert!(db.number.refresh().await.unwrap());

    let mut activity = db.activity.all().await.unwrap();
    activity.sort_by(|a, b| (&a.kind, &a.page).cmp(&(&b.kind, &b.page)));
    let row = |kind: &str, page: &str, seconds| Activity { kind: kind.into(), page: page.into(), seconds };
    let expected = [
        row("Click", "/a", 0.002),
        row("Click", "/c", 0.004),
        row("Hit", "/b", 5.0),
        row("Scroll", "/b", 9.0),
    ];
    assert_eq!(activity, expected);
    let mut kinds = db.kinds.all().await.unwrap();
    kinds.sort_by(|a, b| a.kind.cmp(&b.kind));
    let expected =
        [("click", 2, 1), ("scroll", 1, 0)].map(|(kind, rows, slow)| Kinds { kind: kind.into(), rows, slow });
    assert_eq!(kinds, expected);
    assert_eq!(db.number.all().await.unwrap(), [Number { rows: 6 }], "four of one source, two of the other");
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = id)]
pub(crate) struct Organization {
    pub(crate) id: u32,
    pub(crate) display_name: String,
    pub(crate) owner: Option<Ref<Member>>,
    pub(crate) place: Place,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) city: String,
    pub(crate) country: Option<String>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
#[collection(key = login)]
pub(crate) struct Member {
    #[collection(rename = "id")]
    pub(crate) login: String,
    pub(crate) is_bot: bool,
    pub(crate) score: i64,
    pub(crate) organization: Ref<Organization>,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Relation {
    pub(crate) id: i64,
    pub(crate) member: Ref<Member>,
    pub(crate) organization: Option<Ref<Organization>>,
    pub(crate) reviewers: Vec<Ref<Member>>,
    pub(crate) items: Vec<Item>,
    pub(crate) insertions: i64,
}

#[derive(Collection, Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) author: Option<Ref<Member>>,
}

views! {
    /// A path through a reference finds the row, or nothing.
    pub(crate) Enriched: {
        $from: Relation,
        $select: {
            id, member,
            bot: member.is_bot,
            login: member.login,
            organization_name: organization.display_name,
            city: organization.place.city,
            country: organization.place.country,
            employer: member.organization.display_name,
            boss_score: member.organization.owner.score,
            owner: organization.owner,
            first_reviewer: reviewers[0].score,
            changed: insertions + member.score,
        },
        $refresh: { mode: manual },
    }
    /// A required reference in `$filter` drops the rows whose member is missing.
    pub(crate) Humans: {
        $from: Relation,
        $filter: { member.is_bot: { $ne: true } },
        $select: { id, employer: member.organization.display_name },
        $refresh: { mode: manual },
    }
    /// An optional one does not.
    pub(crate) NotInOslo: {
        $from: Relation,
        $filter: { organization.place.city: { $ne: "Oslo" }, member: { $in: ["ann", "bot", "ghost"] } },
        $select: { id },
        $refresh: { mode: manual },
    }
    pub(crate) PerCountry: {
        $from: Relation,
        $filter: member.organization.place.city != "Rome",
        $groupBy: [{ country: organization.place.country }, member.is_bot],
        $compute: {
            rows: $count(*),
            members: $countDistinct(member),
            score: $sum(member.score, $filter: member.organization.id == 1),
            last: $max(member),
            best: $argMax(member.login, member.score),
        },
        $refresh: { mode: manual },
    }
    /// References in the elements of a list.
    pub(crate) Reviews: {
        $from: Relation,
        $filter: member == "ann",
        $unnest: reviewers,
        $where: reviewers.is_bot == false,
        $select: { id, reviewers, score: reviewers.score, own: member.score, employer: reviewers.organization.display_name },
        $refresh: { mode: manual },
    }
    pub(crate) Items: {
        $from: Relation,
        $unnest: items,
        $select: { id, name: items.name, author: items.author, score: items.author.score },
        $refresh: { mode: manual },
    }
    /// Keys among those of a collection, or of those of its rows for which a condition holds.
    pub(crate) Known: {
        $from: Relation,
        $filter: { member: { $in: Member }, organization: { $nin: Organization, $where: place.city == "Oslo" } },
        $select: { id, score: member.score },
        $refresh: { mode: manual },
    }
    pub(crate) OfPeople: {
        $from: Relation,
        $filter: { member: { $in: Member, $where: { is_bot: false, organization.display_name: { $exists: true } } } },
        $select: { id },
        $refresh: { mode: manual },
    }
    pub(crate) Strangers: {
        $from: Relation,
        $unnest: items,
        $where: { $not: { items.author: { $in: Member, $where: is_bot == false || score > 100 } } },
        $groupBy: [id],
        $compute: { rows: $count(*), bots: $count(*, $filter: { items.author: { $in: Member } }) },
        $refresh: { mode: manual },
    }
    /// The rows of the source, with all of their fields.
    pub(crate) Bots: {
        $from: Member,
        $filter: { is_bot: true },
    }
    pub(crate) RichBots: {
        $from: Bots,
        $filter: score > 0,
    }
    pub(crate) BotNames: {
        $from: RichBots,
        $select: { login, organization_name: organization.display_name },
        $refresh: { mode: manual },
    }
    /// A view keeps references, and views over it look through them.
    pub(crate) Scores: {
        $from: [Enriched, Relation],
        $groupBy: [{ bot: member.is_bot }, { from: $source }],
        $compute: { rows: $count(*) },
        $refresh: { mode: manual },
    }
}

database! {
    pub(crate) struct Community {
        Organization, Member, Relation, Enriched, Humans, NotInOslo, PerCountry, Reviews, Items, Scores, Known, OfPeople,
        Strangers, Bots, RichBots, BotNames,
    }
}

async fn community() -> Community {
    let db = Community::open("memory:///").await.unwrap();
    let place =
        |city: &str, country: Option<&str>| Place { city: city.into(), country: country.map(Into::into) };
    db.organization
        .insert_many([
            Organization {
                id: 1,
                display_name: "One".into(),
                owner: Some("ann".into()),
                place: place("Oslo", Some("NO")),
            },
            Organization { id: 2, display_name: "Two".into(), owner: None, place: place("Bergen", None) },
        ])
        .await
        .unwrap();
    let member = |login: &str, is_bot, score, organization: u32| Member {
        login: login.into(),
        is_bot,
        score,
        organization: organization.into(),
    };
    db.member
        .insert_many([member("ann", false, 5, 1), member("bob", false, 7, 9), member("bot", true, 1, 2)])
        .await
        .unwrap();
    let relation = |id, login: &str, organization: Option<u32>, reviewers: &[&str]| Relation {
        id,
        member: login.into(),
        organization: organization.map(Ref::from),
        reviewers: reviewers.iter().map(|login| Ref::new(*login)).collect(),
        items: reviewers
            .iter()
            .map(|login| Item {
                name: login.to_uppercase(),
                author: login.strip_prefix('b').map(|_| Ref::new(*login)),
            })
            .collect(),
        insertions: 10,
    };
    db.relation
        .insert_many([
            relation(1, "ann", Some(1), &["bob", "bot", "ghost", "ann"]),
            relation(2, "bob", Some(2), &[]),
            relation(3, "bot", None, &["ghost"]),
            relation(4, "ghost", Some(9), &["bot"]),
        ])
        .await
        .unwrap();
    db
}

/// What a row of [`Enriched`] looked up: whether a bot, login, organization, city, country, employer, score of
/// the employer's owner, owner, score of the first reviewer, changes.
type Looked<'a> = (
    Option<bool>,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    Option<i64>,
    Option<&'a str>,
    Option<i64>,
    Option<i64>,
);

#[tokio::test]
async fn path_through_a_reference_is_a_left_join() {
    let db = community().await;
    assert!(db.enriched.refresh().await.unwrap());
    let mut found = db.enriched.all().await.unwrap();
    found.sort_by_key(|row| row.id);
    let looked: Vec<Looked> = found
        .iter()
        .map(|row| {
            (
                row.bot,
                row.login.as_deref(),
                row.organization_name.as_deref(),
                row.city.as_deref(),
                row.country.as_deref(),
                row.employer.as_deref(),
                row.boss_score,
                row.owner.as_ref().map(|owner| owner.key().as_str()),
                row.first_reviewer,
                row.changed,
            )
        })
        .collect();
    let expected: [Looked; 4] = [
        (
            Some(false),
            Some("ann"),
            Some("One"),
            Some("Oslo"),
            Some("NO"),
            Some("One"),
            Some(5),
            Some("ann"),
            Some(7),
            Some(15),
        ),
        (Some(false), Some("bob"), Some("Two"), Some("Bergen"), None, None, None, None, None, Some(17)),
        (Some(true), Some("bot"), None, None, None, Some("Two"), None, None, None, Some(11)),
        (None, None, None, None, None, None, None, None, Some(1), None),
    ];
    assert_eq!(looked, expected);
    let members: Vec<&Ref<Member>> = found.iter().map(|row| &row.member).collect();
    assert_eq!(members, ["ann", "bob", "bot", "ghost"].map(Ref::from).iter().collect::<Vec<_>>());

    db.scores.refresh().await.unwrap();
    let mut scores = db.scores.all().await.unwrap();
    scores.sort_by(|a, b| (&a.from, a.bot).cmp(&(&b.from, b.bot)));
    let counted: Vec<_> = scores.iter().map(|row| (row.from.as_str(), row.bot, row.rows)).collect();
    let of = |from| [(from, None, 1), (from, Some(false), 2), (from, Some(true), 1)];
    assert_eq!(
        counted,
        [of("Enriched"), of("Relation")].concat(),
        "a view's reference is looked through again"
    );
}

#[tokio::test]
async fn required_reference_in_a_filter_is_an_inner_join() {
    let db = community().await;
    for refreshed in
        [db.humans.refresh().await, db.not_in_oslo.refresh().await, db.per_country.refresh().await]
    {
        assert!(refreshed.unwrap());
    }
    let mut humans = db.humans.all().await.unwrap();
    humans.sort_by_key(|row| row.id);
    let expected = [(1, Some("One".to_owned())), (2, None)].map(|(id, employer)| Humans { id, employer });
    assert_eq!(humans, expected, "`ghost` is no member; the employer of `bob` may be missing");

    let mut others = db.not_in_oslo.all().await.unwrap();
    others.sort_by_key(|row| row.id);
    assert_eq!(others, [3, 4].map(|id| NotInOslo { id }), "without an organization, and with a missing one");

    let mut per_country = db.per_country.all().await.unwrap();
    per_country.sort_by(|a, b| (&a.country, a.is_bot).cmp(&(&b.country, b.is_bot)));
    let row = |country: Option<&str>, is_bot, score, last: &str| PerCountry {
        country: country.map(Into::into),
        is_bot: Some(is_bot),
        rows: 1,
        members: 1,
        score,
        last: last.into(),
        best: Some(last.into()),
    };
    assert_eq!(per_country, [row(None, true, 0, "bot"), row(Some("NO"), false, 5, "ann")]);
}

#[tokio::test]
async fn elements_of_a_list_refer_to_rows_too() {
    let db = community().await;
    db.reviews.refresh().await.unwrap();
    db.items.refresh().await.unwrap();
    let mut reviews = db.reviews.all().await.unwrap();
    reviews.sort_by(|a, b| a.reviewers.cmp(&b.reviewers));
    let row = |login: &str, score, employer: Option<&str>| Reviews {
        id: 1,
        reviewers: login.into(),
        score: Some(score),
        own: Some(5),
        employer: employer.map(Into::into),
    };
    assert_eq!(reviews, [row("ann", 5, Some("One")), row("bob", 7, None)]);

    let mut items = db.items.all().await.unwrap();
    items.sort_by(|a, b| (a.id, &a.name).cmp(&(b.id, &b.name)));
    let looked: Vec<_> = items
        .iter()
        .map(|row| {
            (row.id, row.name.as_str(), row.author.as_ref().map(|author| author.key().as_str()), row.score)
        })
        .collect();
    let expected = [
        (1, "ANN", None, None),
        (1, "BOB", Some("bob"), Some(7)),
        (1, "BOT", Some("bot"), Some(1)),
        (1, "GHOST", None, None),
        (3, "GHOST", None, None),
        (4, "BOT", Some("bot"), Some(1)),
    ];
    assert_eq!(looked, expected);
}

#[tokio::test]
async fn queries_compare_references_with_keys() {
    let db = community().await;
    let ids = |rows: Vec<Relation>| {
        let mut ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(db.relation.find(|row| row.member.eq("ann")).await.unwrap()), [1]);
    assert_eq!(
        ids(db.relation.find(|row| row.member.ne(Ref::<Member>::new("ann"))).await.unwrap()),
        [2, 3, 4]
    );
    assert_eq!(ids(db.relation.find(|row| row.organization.is_in([1, 2])).await.unwrap()), [1, 2]);
    assert_eq!(ids(db.relation.find(|row| row.organization.is_null()).await.unwrap()), [3]);
    let first = db.relation.find(|row| row.organization.exists()).order_by(|row| row.member.desc()).limit(1);
    assert_eq!(ids(first.await.unwrap()), [4]);
    let error = db.relation.find(|row| row.member.is_bot.eq(true)).await.unwrap_err();
    assert!(error.to_string().contains("fields of the `Member` that a row refers to"), "{error}");
}

#[tokio::test]
async fn keys_are_looked_for_in_a_collection() {
    let db = community().await;
    for refreshed in [db.known.refresh().await, db.of_people.refresh().await, db.strangers.refresh().await] {
        assert!(refreshed.unwrap());
    }
    let mut known = db.known.all().await.unwrap();
    known.sort_by_key(|row| row.id);
    assert_eq!(known, [(2, 7), (3, 1)].map(|(id, score)| Known { id, score: Some(score) }));
    assert_eq!(
        db.of_people.all().await.unwrap(),
        [OfPeople { id: 1 }],
        "the organization of `bob` is missing"
    );

    let mut strangers = db.strangers.all().await.unwrap();
    strangers.sort_by_key(|row| row.id);
    let row = |id, rows, bots| Strangers { id, rows, bots };
    assert_eq!(strangers, [row(1, 3, 1), row(3, 1, 0), row(4, 1, 1)], "bots, missing members and nobody");
}

#[tokio::test]
async fn view_without_columns_has_its_sources_rows() {
    let db = community().await;
    let bots = db.bots.all().await.unwrap();
    assert_eq!(bots.len(), 1);
    assert_eq!(
        (bots[0].login.as_str(), bots[0].row.score),
        ("bot", 1),
        "fields are those of the source's row"
    );
    let found = db.rich_bots.find(|bot| bot.login.eq("bot").and(bot.organization.eq(2))).await.unwrap();
    assert_eq!(found, [RichBots { row: bots[0].clone() }], "a view over it is the same again");
    db.bot_names.refresh().await.unwrap();
    let names = BotNames { login: "bot".into(), organization_name: Some("Two".into()) };
    assert_eq!(db.bot_names.all().await.unwrap(), [names]);
}
