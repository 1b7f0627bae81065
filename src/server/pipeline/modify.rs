//! Changes that the server makes to an object by itself: binding, eviction. They skip defaults,
//! admission and validation, because what they write is their own.

use super::commit::{Goal, store_failure};
use super::update::MAX_TRIES;
use super::{Context, Pipeline};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::store::{Error, Item};

impl Pipeline {
    /// Reads, changes and writes, again while others are faster. With `dry_run` nothing is written.
    pub(crate) async fn modify<K: Clone + 'static>(
        &self,
        context: &Context,
        dry_run: bool,
        change: impl Fn(&mut K) -> Result<()>,
    ) -> Result<Item> {
        for _ in 0..MAX_TRIES {
            let item = self.current(context)?;
            let old = self.load(context, &item)?;
            let mut new: Box<dyn Object> = old.boxed_clone();
            let typed = new.downcast_mut::<K>();
            change(typed.ok_or_else(|| Failure::internal("an object of another kind is stored here"))?)?;
            if dry_run || context.kind.equal(new.as_ref(), old.as_ref()) {
                return Ok(item);
            }
            match self.commit(context, &item.key, new.as_mut(), Goal::Replace(item.revision)).await {
                Ok(stored) => return Ok(stored),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(store_failure(&error)),
            }
        }
        Err(Failure::stale(context.kind.meta().resource(), &context.name))
    }
}
