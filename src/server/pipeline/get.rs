//! GET of one object: the stored bytes, as they are.

use super::commit::too_large;
use super::options::GetOptions;
use super::{Answer, Context, Pipeline};
use crate::api::status::Result;

impl Pipeline {
    pub fn get(&self, context: &Context, options: &GetOptions) -> Result<Answer> {
        let current = self.store.revision();
        if options.resource_version > current {
            return Err(too_large(options.resource_version, current));
        }
        let item = self.current(context)?;
        Ok(Answer::object(200, self.present(context, &item.value)?))
    }
}
