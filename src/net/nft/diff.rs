//! The difference of two tables as a list of changes in an order that the kernel accepts: what others refer to
//! comes before them and goes after them. Pure.

use crate::net::nft::model::{Chain, Element, Name, Set, Table, Value, Verdict};

/// One step of a transaction within a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    AddSet(Name, Set),
    AddChain(Name, Chain),
    /// Empties the chain.
    FlushRules(Name),
    /// Appends the chain's rules.
    AddRules(Name, Chain),
    RemoveElement(Name, Value, Element),
    AddElement(Name, Value, Element),
    RemoveChain(Name),
    RemoveSet(Name),
}

/// What turns `old` into `new`; `None` when a set or hook itself differs, so that the table must be replaced.
pub fn diff(old: &Table, new: &Table) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    for (name, set) in &new.sets {
        match old.sets.get(name) {
            None => changes.push(Change::AddSet(name.clone(), Set { elements: Default::default(), ..set.clone() })),
            Some(before) if before.key != set.key || before.kind != set.kind => return None,
            Some(_) => {}
        }
    }
    for (name, chain) in &new.chains {
        match old.chains.get(name) {
            None => changes.push(Change::AddChain(name.clone(), chain.clone())),
            Some(before) if before.hook != chain.hook => return None,
            Some(_) => {}
        }
    }
    let mut rules = Vec::new();
    for (name, chain) in &new.chains {
        let before = old.chains.get(name);
        if before.is_some_and(|before| before.rules == chain.rules) {
            continue;
        }
        if before.is_some_and(|before| !before.rules.is_empty()) {
            changes.push(Change::FlushRules(name.clone()));
        }
        rules.push(Change::AddRules(name.clone(), chain.clone()));
    }
    for (name, set) in &old.sets {
        let after = new.sets.get(name);
        for (key, element) in &set.elements {
            if after.is_none_or(|after| after.elements.get(key) != Some(element)) {
                changes.push(Change::RemoveElement(name.clone(), *key, element.clone()));
            }
        }
    }
    changes.extend(rules);
    for (name, set) in &new.sets {
        let before = old.sets.get(name);
        for (key, element) in &set.elements {
            if before.is_none_or(|before| before.elements.get(key) != Some(element)) {
                changes.push(Change::AddElement(name.clone(), *key, element.clone()));
            }
        }
    }
    let gone: Vec<_> = old.chains.iter().filter(|(name, _)| !new.chains.contains_key(*name)).collect();
    // Chains may refer to each other: all of them are emptied before the first goes.
    changes
        .extend(gone.iter().filter(|(_, c)| !c.rules.is_empty()).map(|(name, _)| Change::FlushRules((*name).clone())));
    changes.extend(gone.iter().map(|(name, _)| Change::RemoveChain((*name).clone())));
    changes.extend(old.sets.keys().filter(|name| !new.sets.contains_key(*name)).cloned().map(Change::RemoveSet));
    Some(changes)
}

/// What the table is after the changes: how the remembered state follows the kernel's.
pub fn apply(table: &mut Table, changes: &[Change]) {
    for change in changes {
        match change {
            Change::AddSet(name, set) => drop(table.sets.insert(name.clone(), set.clone())),
            Change::AddChain(name, chain) => {
                drop(table.chains.insert(name.clone(), Chain { hook: chain.hook, rules: Vec::new() }));
            }
            Change::FlushRules(name) => {
                if let Some(chain) = table.chains.get_mut(name) {
                    chain.rules.clear();
                }
            }
            Change::AddRules(name, added) => {
                if let Some(chain) = table.chains.get_mut(name) {
                    chain.rules.extend(added.rules.iter().cloned());
                }
            }
            Change::RemoveElement(name, key, _) => {
                if let Some(set) = table.sets.get_mut(name) {
                    set.elements.remove(key);
                }
            }
            Change::AddElement(name, key, element) => {
                if let Some(set) = table.sets.get_mut(name) {
                    set.elements.insert(*key, element.clone());
                }
            }
            Change::RemoveChain(name) => drop(table.chains.remove(name)),
            Change::RemoveSet(name) => drop(table.sets.remove(name)),
        }
    }
}

/// The chain that an element leads to.
pub fn target(element: &Element) -> Option<&Name> {
    match element {
        Element::Verdict(Verdict::Goto(name) | Verdict::Jump(name)) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::nft::model::{Column, Field, SetKind, Statement};

    fn table(chains: &[(&str, usize)], elements: &[(u16, &str)]) -> Table {
        let mut table = Table { name: "t".to_owned(), ..Table::default() };
        let mut map = Set::new(SetKind::Verdicts, &[Column::Port]);
        for (port, chain) in elements {
            let verdict = Verdict::Goto((*chain).into());
            map.elements.insert(Value::EMPTY.port(*port), Element::Verdict(verdict));
        }
        table.sets.insert("ports".into(), map);
        for (name, rules) in chains {
            let rule = vec![Statement::VerdictMap { key: vec![Field::DestinationPort], map: "ports".into() }];
            table.chains.insert((*name).into(), Chain::plain(vec![rule; *rules]));
        }
        table
    }

    #[test]
    fn applying_the_difference_gives_the_new_table() {
        let tables = [
            Table { name: "t".to_owned(), ..Table::default() },
            table(&[("a", 1)], &[(80, "a")]),
            table(&[("a", 2), ("b", 1)], &[(80, "b"), (81, "a")]),
            table(&[("b", 0)], &[]),
        ];
        for old in &tables {
            for new in &tables {
                let mut now = old.clone();
                let changes = diff(old, new).unwrap();
                assert_eq!(changes.is_empty(), old == new);
                apply(&mut now, &changes);
                assert_eq!(&now, new);
            }
        }
    }

    #[test]
    fn an_element_leaves_before_it_comes_back_and_before_its_chain_goes() {
        let changes = diff(&table(&[("a", 1)], &[(80, "a")]), &table(&[("b", 1)], &[(80, "b")])).unwrap();
        let at = |wanted: fn(&Change) -> bool| changes.iter().position(wanted).unwrap();
        let added_chain = at(|c| matches!(c, Change::AddChain(..)));
        let removed = at(|c| matches!(c, Change::RemoveElement(..)));
        let added = at(|c| matches!(c, Change::AddElement(..)));
        let chain_gone = at(|c| matches!(c, Change::RemoveChain(..)));
        assert!(added_chain < added && removed < added && removed < chain_gone);
    }

    #[test]
    fn a_set_of_another_shape_needs_a_new_table() {
        let mut other = table(&[], &[]);
        other.sets.get_mut("ports").unwrap().key = vec![Column::Address];
        assert_eq!(diff(&table(&[], &[]), &other), None);
    }
}
