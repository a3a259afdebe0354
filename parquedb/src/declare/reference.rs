//! Looking through references: handles that are a key and open into the row with that key.

use super::expr::{Expr, Handle, Order, all};
use super::node::{Function, Literal, Node, Referred};
use super::operand::{Comparable, Constant, Operand, Ordered};
use super::plan::Join;
use super::record::{Keyed, Record, Referable};
use super::shape::{NotNull, Nullability, Nullable, Shape, Unknown};
use crate::ingest::NotOptional;
use crate::types::Ref;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::OnceLock;

/// What the key of a `T` is compared with.
type KeyOf<T> = <<T as Keyed>::Key as Shape>::Bare;

/// The handle of a reference: its value is the key, its fields are those of the row referred to, each
/// null where there is no such row.
///
/// The fields are made when they are asked for, because two records may refer to each other.
pub struct Reference<T: Keyed, N: Nullability> {
    at: Node,
    row: OnceLock<Box<T::Handles<N::Through>>>,
    of: PhantomData<fn() -> N>,
}

impl<T: Keyed, N: Nullability> Reference<T, N> {
    fn new(at: Node) -> Self {
        Self { at, row: OnceLock::new(), of: PhantomData }
    }

    fn key(&self) -> Expr<Ref<T>> {
        Expr::new(self.at.clone())
    }

    /// The key as an expression.
    pub fn value(&self) -> Expr<N::Wrap<Ref<T>>> {
        Expr::new(self.at.clone())
    }

    /// Whether there is a key. Its row may be missing.
    pub fn exists(&self) -> Expr<bool> {
        self.key().exists()
    }

    /// Whether there is no key.
    pub fn is_null(&self) -> Expr<bool> {
        self.key().is_null()
    }

    /// Whether the keys are equal; null equals null.
    #[allow(clippy::should_implement_trait)]
    pub fn eq<R: Operand<KeyOf<T>>>(&self, right: R) -> Expr<bool> {
        self.key().eq(right)
    }

    /// Whether the keys differ; null differs from every key.
    #[allow(clippy::should_implement_trait)]
    pub fn ne<R: Operand<KeyOf<T>>>(&self, right: R) -> Expr<bool> {
        self.key().ne(right)
    }

    /// Whether the key is one of the list.
    pub fn is_in<R: Constant<KeyOf<T>>>(&self, list: impl IntoIterator<Item = R>) -> Expr<bool> {
        self.key().is_in(list)
    }

    /// Whether the key is none of the list.
    pub fn not_in<R: Constant<KeyOf<T>>>(&self, list: impl IntoIterator<Item = R>) -> Expr<bool> {
        self.key().not_in(list)
    }

    /// Least key first, nulls last.
    pub fn asc(&self) -> Order
    where
        T::Key: Ordered,
    {
        self.key().asc()
    }

    /// Greatest key first, nulls last.
    pub fn desc(&self) -> Order
    where
        T::Key: Ordered,
    {
        self.key().desc()
    }
}

impl<T: Keyed, N: Nullability> Clone for Reference<T, N> {
    fn clone(&self) -> Self {
        Self::new(self.at.clone())
    }
}

impl<T: Keyed, N: Nullability> fmt::Debug for Reference<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

impl<T: Keyed, N: Nullability> Deref for Reference<T, N> {
    type Target = T::Handles<N::Through>;
    fn deref(&self) -> &Self::Target {
        self.row.get_or_init(|| {
            Box::new(T::handles::<N::Through>(Node::Referred(Box::new(Referred {
                reference: self.at.clone(),
                member: T::NAME.to_owned(),
                key: T::KEY.to_owned(),
                required: N::REQUIRED,
                many: false,
            }))))
        })
    }
}

impl<T: Keyed, N: Nullability> Handle for Reference<T, N> {
    type Type = N::Wrap<Ref<T>>;
    fn node(&self) -> Node {
        self.at.clone()
    }
}

impl<T: Keyed> Shape for Ref<T> {
    type Bare = KeyOf<T>;
    type Inner = T;
    type Item = Unknown;
    type Null = NotNull;
    type Open = Nullable;
    type Target = T;
    type Optional = Option<Self>;
    type Sum = Unknown;
    type Mean = Unknown;
    type Handle<N: Nullability> = Reference<T, N>;
    fn handle<N: Nullability>(at: Node) -> Self::Handle<N> {
        Reference::new(at)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Keyed> Comparable<KeyOf<T>> for Ref<T> {}

#[diagnostic::do_not_recommend]
impl<T: Keyed<Key: Constant<KeyOf<T>>>> Constant<KeyOf<T>> for Ref<T> {
    fn literal(self) -> Literal {
        self.into_key().literal()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Keyed<Key: Constant<KeyOf<T>> + Clone>> Constant<KeyOf<T>> for &Ref<T> {
    fn literal(self) -> Literal {
        self.key().clone().literal()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Keyed<Key: Constant<KeyOf<T>>>> Operand<KeyOf<T>> for Ref<T> {
    fn node(self) -> Node {
        Node::Literal(self.literal())
    }
}

#[diagnostic::do_not_recommend]
impl<T: Keyed<Key: Constant<KeyOf<T>> + Clone>> Operand<KeyOf<T>> for &Ref<T> {
    fn node(self) -> Node {
        Node::Literal(self.literal())
    }
}

#[diagnostic::do_not_recommend]
impl<T: Keyed<Key: Ordered>> Ordered for Ref<T> {}

/// Compiles only if a field of this type, where it is a reference, refers to something with a key.
pub const fn target_has_key<T: Shape>()
where
    T::Target: Referable<Key: NotOptional>,
    T::Item: Shape<Target: Referable<Key: NotOptional>>,
{
}

/// Whether a field of this type is a reference.
#[must_use]
pub const fn is_reference<T: Shape>() -> bool {
    !<T::Target as Record>::KEYS.is_empty()
}

/// The row of `T` whose key a value is.
pub fn member_row<T: Keyed, V: Shape>(value: &Expr<V>) -> T::Handles<Nullable> {
    T::handles(found::<T>(value.clone().into_node()))
}

/// Whether a value is the key of a row of `T` for which the condition holds. The condition is over
/// [`member_row`].
pub fn among_members<T: Referable, V: Shape>(value: &Expr<V>, condition: Option<Node>) -> Expr<bool>
where
    for<'a> &'a Expr<V>: Operand<KeyOf<T>>,
{
    let key = found::<T>(value.clone().into_node()).field(T::KEY);
    let exists = Node::Call(Function::Exists, vec![key]);
    all(std::iter::once(exists).chain(condition).collect::<Vec<_>>())
}

/// The row of `T` with a key. It may be missing, whatever gives the key.
pub(super) fn found<T: Keyed>(key: Node) -> Node {
    Node::Referred(Box::new(Referred {
        reference: key,
        member: T::NAME.to_owned(),
        key: T::KEY.to_owned(),
        required: false,
        many: false,
    }))
}

/// Replaces every [`Node::Referred`] in an expression by the join that finds the row, which is added where it is
/// not there yet. What is `required` also makes joins of references that are never null drop the rows without a
/// counterpart.
pub(crate) fn resolve(node: &mut Node, joins: &mut Vec<Join>, required: bool) {
    match node {
        Node::Field(of, _) | Node::Index(of, _) | Node::Key(of, _) => resolve(of, joins, required),
        Node::Call(_, arguments) => {
            arguments.iter_mut().for_each(|argument| resolve(argument, joins, required));
        }
        Node::Assembled(record) => {
            record.fields.iter_mut().for_each(|(_, value)| resolve(value, joins, required));
        }
        Node::Referred(referred) => {
            let Referred { mut reference, member, key, required: never_null, many } = (**referred).clone();
            resolve(&mut reference, joins, required);
            let required = required && never_null;
            let is_same =
                |join: &Join| join.reference == reference && join.member == member && join.many == many;
            let name = match joins.iter_mut().find(|join| is_same(join)) {
                Some(join) => {
                    join.required |= required;
                    join.name.clone()
                }
                None => {
                    let name = unused(path(&reference), joins);
                    let after_unnest = is_below_element(&reference, joins);
                    joins.push(Join {
                        name: name.clone(),
                        member,
                        reference,
                        key,
                        required,
                        as_of_ingest: false,
                        after_unnest,
                        many,
                    });
                    name
                }
            };
            *node = Node::Joined(name);
        }
        Node::Row
        | Node::Element
        | Node::ElementIndex
        | Node::Joined(_)
        | Node::SourceName
        | Node::Literal(_)
        | Node::List(_) => {}
    }
}

/// The path as text; the element of an `$unnest` is `*`.
fn path(node: &Node) -> String {
    match node {
        Node::Field(of, name) if **of == Node::Row => name.clone(),
        Node::Field(of, name) => format!("{}.{name}", path(of)),
        Node::Index(of, position) => format!("{}[{position}]", path(of)),
        Node::Key(of, key) => format!("{}[{key:?}]", path(of)),
        Node::Joined(name) => name.clone(),
        Node::Element => "*".to_owned(),
        _ => "(expression)".to_owned(),
    }
}

/// A column may be named like a path.
fn unused(mut name: String, joins: &[Join]) -> String {
    while joins.iter().any(|join| join.name == name) {
        name.push('\'');
    }
    name
}

fn is_below_element(reference: &Node, joins: &[Join]) -> bool {
    let mut found = false;
    reference.walk(&mut |node| {
        found |= match node {
            Node::Element => true,
            Node::Joined(name) => joins.iter().any(|join| join.name == *name && join.after_unnest),
            _ => false,
        };
    });
    found
}
