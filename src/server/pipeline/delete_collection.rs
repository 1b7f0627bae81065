//! DELETE of a collection: what a list would show, deleted one by one, several at a time.

use futures::{StreamExt, TryStreamExt};

use super::list::Listed;
use super::options::{DeleteOptions, ListOptions};
use super::selection::name_of;
use super::{Context, Pipeline};
use crate::api::status::Result;

/// Deletions under way at once: they share the store's commits.
const WORKERS: usize = 32;

impl Pipeline {
    /// Gives what was deleted, as a list.
    pub async fn delete_collection(
        &self,
        context: &Context,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Listed> {
        options.check_collection()?;
        let mut listed = self.list(context, list).await?;
        let items = std::mem::take(&mut listed.items);
        let deletions = futures::stream::iter(items).map(async |item| {
            let (namespace, name) = name_of(&item)?;
            let one = context.named(&namespace, &name);
            let outcome = self.delete(&one, options).await;
            one.take_warnings().into_iter().for_each(|warning| context.warn(warning));
            match outcome {
                Ok(_) => Ok(Some(item)),
                // Somebody else deleted it first.
                Err(failure) if failure.code() == 404 => Ok(None),
                Err(failure) => Err(failure),
            }
        });
        let deleted: Vec<_> = deletions.buffered(WORKERS).try_collect().await?;
        listed.items = deleted.into_iter().flatten().collect();
        Ok(listed)
    }
}
