//! GET of one object: the stored bytes, as they are.

use super::options::GetOptions;
use super::{Answer, Context, Pipeline};
use crate::api::status::Result;

impl Pipeline {
    pub async fn get(&self, context: &Context, options: &GetOptions) -> Result<Answer> {
        self.reached(options.resource_version).await?;
        let item = self.current(context)?;
        Ok(Answer::object(200, self.present(context, &item.value)?))
    }
}
