//! LIST: the stored bytes of a range, at one revision, in pages.

use super::commit::{store_failure, too_large};
use super::continue_token::Token;
use super::options::{ListOptions, VersionMatch};
use super::selection::Selection;
use super::{Context, Pipeline};
use crate::api::status::{Failure, Result};
use crate::store::{self, Item};

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// As the request's kind shows them.
    pub items: Vec<bytes::Bytes>,
    pub revision: u64,
    /// Where the next page begins, for the client to hand back.
    pub continue_token: Option<String>,
    /// Unknown where a selector leaves items out.
    pub remaining: Option<usize>,
}

/// Items fetched at a time where a selector leaves some out.
const CHUNK: usize = 500;

impl Pipeline {
    pub async fn list(&self, context: &Context, options: &ListOptions) -> Result<Listed> {
        let selection = Selection::parse(&*context.kind, options)?;
        let prefix = selection.prefix(context);
        let mut at = self.revision_of(options).await?;
        let mut after = None;
        if !options.continue_token.is_empty() {
            let token = Token::decode(&options.continue_token)
                .map_err(|why| Failure::bad_request(format!("invalid continue token: {why}")))?;
            at = token.revision;
            after = Some(format!("{prefix}{}", token.after));
        }
        let mut found = Vec::new();
        let (revision, remaining) = loop {
            let chunk = match options.limit {
                0 => 0,
                limit if selection.is_everything() => limit,
                _ => CHUNK,
            };
            let request = store::ListOptions { after: after.clone(), limit: chunk, at };
            let page = self.store.list(&prefix, request).await;
            let page = page.map_err(|error| list_failure(&error, options, &prefix, after.as_deref()))?;
            at = Some(page.revision);
            let last = page.items.last().map(|item| item.key.to_string());
            let full = self.take(context, &selection, page.items, options.limit, &prefix, &mut found)?;
            if full.is_some() || page.remaining == 0 || chunk == 0 {
                break (page.revision, full.unwrap_or(0) + page.remaining);
            }
            after = last;
        };
        let continue_token = match (remaining, found.last()) {
            (1.., Some((key, _))) => Some(Token::new(Some(revision), key).encode()),
            _ => None,
        };
        let remaining = (continue_token.is_some() && selection.is_everything()).then_some(remaining);
        let items = found.into_iter().map(|(_, bytes)| bytes).collect();
        Ok(Listed { items, revision, continue_token, remaining })
    }

    /// Adds what matches, up to the limit. Gives how many items of the chunk were not looked at, once it is full.
    fn take(
        &self,
        context: &Context,
        selection: &Selection,
        items: Vec<Item>,
        limit: usize,
        prefix: &str,
        found: &mut Vec<(String, bytes::Bytes)>,
    ) -> Result<Option<usize>> {
        let total = items.len();
        for (at, item) in items.into_iter().enumerate() {
            // The range of a single object's key also holds the keys that begin with it.
            if !prefix.ends_with('/') && *item.key != *prefix {
                continue;
            }
            if selection.matches(&*context.kind, &item.value)? {
                let key = item.key.strip_prefix(prefix).unwrap_or_default().to_owned();
                found.push((key, self.present(context, &item.value)?));
                if limit > 0 && found.len() >= limit {
                    return Ok(Some(total - at - 1));
                }
            }
        }
        Ok(None)
    }

    /// The past revision to show; `None` for now.
    async fn revision_of(&self, options: &ListOptions) -> Result<Option<u64>> {
        let Some(version) = options.resource_version.filter(|version| *version > 0) else { return Ok(None) };
        if !options.continue_token.is_empty() {
            return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
        }
        // With a limit and no match a version was always meant exactly.
        let exact = match options.version_match {
            Some(VersionMatch::Exact) => true,
            Some(VersionMatch::NotOlderThan) => false,
            None => options.limit > 0,
        };
        if exact {
            let current = self.store.revision();
            return if version > current { Err(too_large(version, current)) } else { Ok(Some(version)) };
        }
        self.reached(version).await?;
        Ok(None)
    }
}

/// Compacted history: with a continue token the client may go on without consistency.
fn list_failure(error: &store::Error, options: &ListOptions, prefix: &str, after: Option<&str>) -> Failure {
    let store::Error::Compacted { .. } = error else { return store_failure(error) };
    if options.continue_token.is_empty() {
        return Failure::expired("The resourceVersion for the provided list is too old.");
    }
    let text = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    let mut failure = Failure::expired(text);
    let after = after.and_then(|key| key.strip_prefix(prefix)).unwrap_or_default();
    failure.0.metadata.continue_ = Some(Token::new(None, after).encode());
    failure
}
