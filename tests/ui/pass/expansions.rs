use parquedb::{Collection, Ref, database, views};

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub struct Buyer {
    pub id: u32,
    pub name: String,
    pub firm: Ref<Firm>,
}

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub struct Firm {
    pub id: u32,
    pub name: String,
    pub rank: Option<i32>,
}

#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Sale {
    pub total: f64,
    pub customer: Option<Ref<Buyer>>,
    pub seller: Ref<Buyer>,
}

#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Fair {
    pub at: i64,
    pub buyers: Vec<Ref<Buyer>>,
    pub firms: Option<Vec<Ref<Firm>>>,
    pub host: Option<Ref<Firm>>,
}

views! {
    /// Lists of references are lists of rows.
    pub Fairs: { $from: Fair, $expand: [buyers, firms, host] }
    pub Visits: {
        $from: Fairs,
        $unnest: buyers,
        $select: { at, buyer: buyers, firm: buyers.firm.name, first: firms[0].name, firms, host },
    }
    pub Guests: { $from: Fair, $expand: [buyers], $select: { at, buyers, first: buyers[0].name } }
    /// Sales with both sides.
    pub Full: { $from: Sale, $expand: [customer, customer.firm, seller], $flatten: { customer: buyer } }
    /// Over expansions: a name is a record, which may be missing.
    pub Over: {
        $from: Full,
        $select: { total, name: buyer.name, firm: buyer_firm.name, rank: buyer_firm.rank, buyer, seller, customer },
    }
    pub Same: { $from: Full, $filter: buyer.name == "Ann" }
    pub Grouped: {
        $from: [Same, Full],
        $groupBy: [buyer.name],
        $compute: { total: $sum(total), best: $max(buyer_firm.rank) },
    }
    pub Named: {
        $from: Sale,
        $expand: [seller, seller.firm],
        $flatten: { seller.firm: shop },
        $where: shop.rank > 3,
        $select: { total, shop: shop.name, by: seller.name, key: seller },
    }
}

database! { pub struct Db { Buyer, Firm, Sale, Full, Over, Same, Grouped, Named, Fair, Fairs, Visits, Guests } }

fn main() {
    let buyer = Buyer { id: 1, name: String::new(), firm: Ref::new(2u32) };
    let sale = Sale { total: 1.0, customer: None, seller: Ref::new(1u32) };
    let full = Full {
        row: sale.clone(),
        buyer: None::<Buyer>,
        buyer_firm: None::<Firm>,
        seller: Some(buyer.clone()),
    };
    let _: (f64, &Option<Buyer>, &Ref<Buyer>) = (full.total, &full.seller, &full.row.seller);
    let fair = Fair { at: 1, buyers: vec![Ref::new(1u32)], firms: None, host: None };
    let fairs = Fairs { row: fair, buyers: vec![Some(buyer.clone())], firms: None, host: None::<Firm> };
    let _: (i64, usize, &Option<Vec<Option<Firm>>>) = (fairs.at, fairs.buyers.len(), &fairs.firms);
    let _ = Visits {
        at: 1,
        buyer: Some(buyer.clone()),
        firm: None::<String>,
        first: None::<String>,
        firms: Some(Vec::<Option<Firm>>::new()),
        host: None::<Firm>,
    };
    let _ = Guests { at: 1, buyers: vec![None::<Buyer>], first: None::<String> };
    let same = Same { row: full };
    let _: (f64, &Option<Firm>) = (same.total, &same.buyer_firm);
    let _ = Over {
        total: 1.0,
        name: None::<String>,
        firm: None::<String>,
        rank: None::<i32>,
        buyer: None::<Buyer>,
        seller: Some(buyer),
        customer: None::<Ref<Buyer>>,
    };
    let _ = Grouped { name: None::<String>, total: 1.0, best: None::<i32> };
    let _ = Named { total: 1.0, shop: None::<String>, by: None::<String>, key: Ref::<Buyer>::new(1u32) };
}
