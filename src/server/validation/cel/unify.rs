//! Whether one type can stand where another is wanted, and which types that are still to be found that decides. The rules
//! are those of cel-go's checker.

use std::collections::HashMap;

use super::types::Type;

/// The types found so far.
#[derive(Default)]
pub struct Found {
    of: HashMap<u32, Type>,
    /// What was there before, to go back to where something does not fit after all.
    before: Vec<(u32, Option<Type>)>,
    fresh: u32,
}

impl Found {
    /// The number of the first of so many new ones.
    pub fn fresh(&mut self, count: u32) -> u32 {
        self.fresh += count;
        self.fresh - count
    }

    /// Whether all fit; if one does not, nothing has been found.
    pub fn fit(&mut self, given: &[Type], wanted: &[Type]) -> bool {
        let fits = self.all(given, wanted);
        if fits {
            self.before.clear();
        }
        while let Some((number, before)) = self.before.pop() {
            match before {
                Some(before) => self.of.insert(number, before),
                None => self.of.remove(&number),
            };
        }
        fits
    }

    pub fn fits(&mut self, given: &Type, wanted: &Type) -> bool {
        self.fit(std::slice::from_ref(given), std::slice::from_ref(wanted))
    }

    fn all(&mut self, given: &[Type], wanted: &[Type]) -> bool {
        given.len() == wanted.len() && given.iter().zip(wanted).all(|(one, other)| self.one(one, other))
    }

    fn one(&mut self, given: &Type, wanted: &Type) -> bool {
        if let Type::Param(number) = wanted {
            match self.can_be(*number, given) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Param(number) = given {
            return self.can_be(*number, wanted).0;
        }
        match (given, wanted) {
            (Type::Dyn | Type::Any | Type::Error, _) | (_, Type::Dyn | Type::Any | Type::Error) => true,
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => self.one(one, other),
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                self.one(key, other_key) && self.one(value, other_value)
            }
            (one, other) => one == other,
        }
    }

    /// Whether what is to be found can be this, and whether it was known already.
    fn can_be(&mut self, number: u32, of: &Type) -> (bool, bool) {
        if *of == Type::Param(number) {
            return (true, true);
        }
        if let Some(known) = self.of.get(&number).cloned() {
            if known == *of {
                return (true, true);
            }
            if !self.one(of, &known) {
                return (false, true);
            }
            let general = most_general(of, &known);
            if !self.is_within(number, &general) {
                self.set(number, general);
            }
            return (true, true);
        }
        if self.is_within(number, of) {
            return (false, false);
        }
        self.set(number, of.clone());
        (true, false)
    }

    fn set(&mut self, number: u32, of: Type) {
        let before = self.of.insert(number, of);
        self.before.push((number, before));
    }

    fn is_within(&self, number: u32, of: &Type) -> bool {
        match of {
            Type::Param(other) if *other == number => true,
            Type::Param(other) => self.of.get(other).is_some_and(|of| self.is_within(number, of)),
            _ => of.parts().into_iter().any(|of| self.is_within(number, of)),
        }
    }

    /// The type as far as it was found; with `all`, what was not is anything.
    pub fn resolved(&self, of: &Type, all: bool) -> Type {
        match of {
            Type::Param(number) => match self.of.get(number) {
                Some(found) => self.resolved(found, all),
                None if all => Type::Dyn,
                None => of.clone(),
            },
            _ if of.parts().is_empty() => of.clone(),
            _ => of.with_parts(|part| self.resolved(part, all)),
        }
    }
}

fn is_nullable(of: &Type) -> bool {
    matches!(of, Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Timestamp | Type::Duration)
}

/// Of two that fit together.
pub fn most_general(one: &Type, other: &Type) -> Type {
    if is_no_more_specific(one, other) { one.clone() } else { other.clone() }
}

fn is_no_more_specific(one: &Type, other: &Type) -> bool {
    let open = |of: &Type| matches!(of, Type::Dyn | Type::Any | Type::Param(_));
    match (one, other) {
        _ if open(one) => true,
        _ if open(other) => false,
        (Type::Type(_), Type::Type(_)) => true,
        (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
            is_no_more_specific(one, other)
        }
        (Type::Map(key, value), Type::Map(other_key, other_value)) => {
            is_no_more_specific(key, other_key) && is_no_more_specific(value, other_value)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_finds_nothing() {
        let mut found = Found::default();
        let a = Type::Param(found.fresh(1));
        assert!(!found.fit(&[Type::Int, Type::String], &[a.clone(), a.clone()]));
        assert_eq!(found.resolved(&a, true), Type::Dyn);
        assert!(found.fit(&[Type::Int, Type::Dyn], &[a.clone(), a.clone()]));
        assert_eq!(found.resolved(&Type::list(a), true), Type::list(Type::Dyn));
    }

    #[test]
    fn nothing_is_a_part_of_itself() {
        let mut found = Found::default();
        let a = Type::Param(found.fresh(1));
        assert!(!found.fits(&a, &Type::list(a.clone())));
        assert!(found.fits(&Type::list(Type::Null), &Type::list(Type::Opaque("net.IP"))));
        assert!(!found.fits(&Type::Null, &Type::String));
    }
}
