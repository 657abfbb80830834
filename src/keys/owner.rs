//! The owner of objects that the server stores for clients, and whose objects a request may see.

use super::Key;

/// The owner of a stored object: the id of the client's API key, empty for clients without one.
///
/// It is not the key's name, since another key may get that name after this one is revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner(String);

impl Owner {
    /// The owner that a key represents; `None` = clients without a key.
    pub fn of(key: Option<&Key>) -> Self {
        Self(key.map_or_else(String::new, |key| key.record.id().to_owned()))
    }

    /// The owner as stored in a database.
    pub fn stored(id: String) -> Self {
        Self(id)
    }

    /// The id for a database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose objects a request sees. All others do not exist for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    All,
    Of(Owner),
}

impl Seen {
    /// Whether it includes the objects of an owner.
    pub fn has(&self, owner: &Owner) -> bool {
        match self {
            Self::All => true,
            Self::Of(seen) => seen == owner,
        }
    }

    /// The only visible owner; `None` = all are visible. In SQL: `owner = ifnull(?1, owner)`.
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Of(owner) => Some(owner.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::keys::{Keys, Wish};

    #[test]
    fn a_key_sees_its_own_and_another_one_of_its_name_does_not() {
        let keys = Keys::none();
        let make = || {
            let wish = Wish {
                name: "one".to_owned(),
                ..Wish::default()
            };
            let (_, key) = keys.create(wish, Timestamp::now()).unwrap();
            Owner::of(Some(&key))
        };
        let first = make();
        keys.revoke("one", true).unwrap();
        let second = make();
        let nobody = Owner::of(None);
        for (seen, expected) in [
            (Seen::All, [true, true, true]),
            (Seen::Of(first.clone()), [true, false, false]),
            (Seen::Of(second.clone()), [false, true, false]),
            (Seen::Of(nobody.clone()), [false, false, true]),
        ] {
            let found = [&first, &second, &nobody].map(|owner| seen.has(owner));
            assert_eq!(found, expected, "{seen:?}");
        }
        assert_eq!(Owner::stored(first.as_str().to_owned()), first);
        assert_eq!(Seen::Of(nobody).only(), Some(""));
    }
}
