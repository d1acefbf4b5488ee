use super::super::kit::Kit;
use super::super::server::Server;
use crate::failure::Result;
use std::path::Path;
pub(super) fn admits(_: &Path, _: &Kit) -> Result<()> {
    Ok(())
}
pub(super) fn refuses_strangers(_: &Path, _: &Server) -> Result<()> {
    Ok(())
}
