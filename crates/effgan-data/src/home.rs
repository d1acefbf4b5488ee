//! Paths that begin at the home folder.

use std::{
    env,
    path::{Path, PathBuf},
};

/// `path` with the home folder in place of `~` at its beginning, which a shell does not replace within quotes, nor a config. Another
/// path, and any where there is no home folder, stays as it is.
pub fn from_home(path: PathBuf) -> PathBuf {
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tilde_alone_at_the_beginning_is_the_home_folder() {
        let home = PathBuf::from(env::var_os("HOME").unwrap());
        let found = |path: &str| from_home(path.into());
        assert_eq!([found("~"), found("~/a/b")], [home.clone(), home.join("a/b")]);
        for other in ["a", "/a", "a/~", "~user/a", "./~", ""] {
            assert_eq!(found(other), Path::new(other));
        }
    }
}
