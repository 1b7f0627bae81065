//! DELETE of a collection: what a list would show, deleted one by one.

use super::list::Listed;
use super::options::{DeleteOptions, ListOptions};
use super::{Context, Pipeline};
use crate::api::status::{Failure, Result};

impl Pipeline {
    /// Gives what was deleted, as a list.
    pub async fn delete_collection(
        &self,
        context: &Context,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Listed> {
        let mut listed = self.list(context, list).await?;
        let mut deleted = Vec::with_capacity(listed.items.len());
        for item in listed.items {
            let object = context.kind.decode(&item).map_err(Failure::internal)?;
            let one = context.named(object.namespace(), object.name());
            match self.delete(&one, options).await {
                Ok(_) => deleted.push(item),
                // Somebody else deleted it first.
                Err(failure) if failure.code() == 404 => {}
                Err(failure) => return Err(failure),
            }
        }
        listed.items = deleted;
        Ok(listed)
    }
}
