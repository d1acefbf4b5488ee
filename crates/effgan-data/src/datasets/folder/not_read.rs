//! Lines about what lies in a folder and is not read.

use super::{
    classes::{Classes, class_name},
    layout::Layout,
    tree::Again,
};
use crate::control_chars;
use std::path::{Path, PathBuf};

/// Maximum number of paths that a line names; it only counts the others.
const NAMED: usize = 3;

/// The lines about the splits of `dir`, which are `parts`. Their classes are `known`, or else those that have pictures.
pub(super) fn lines(dir: &Path, layout: &Layout, parts: &[Classes], known: Option<&[String]>) -> Vec<String> {
    let trees = || parts.iter().flat_map(|part| part.trees.iter());
    let beside = parts.iter().map(|part| &part.beside);
    let skipped = trees().map(|(_, tree)| tree).chain(beside.clone()).flat_map(|tree| &tree.skipped);
    let again = trees().flat_map(|(_, tree)| &tree.again);
    let again = again.map(|Again { link, first }| format!("{} (to {})", inside(dir, link), inside(dir, first)));
    let is_class = |class: &String| match known {
        Some(known) => known.iter().any(|known| class_name(known) == *class),
        None => parts.iter().any(|part| part.names().any(|name| name == class)),
    };
    let empty = |of_classes| {
        let wanted = move |(class, _): &&(String, PathBuf)| is_class(class) == of_classes;
        parts.iter().flat_map(|part| &part.empty).filter(wanted).map(|(_, path)| inside(dir, path))
    };
    let by_class = trees().filter_map(|(class, tree)| {
        let what = format!("files of class {} that are not read as pictures", control_chars::without_control(class));
        line(&what, tree.others.iter().map(|path| inside(dir, path)))
    });
    let files = beside.flat_map(|tree| &tree.others);
    let all = [
        line("beside the splits", layout.unread.iter().map(|path| inside(dir, path))),
        line("files that are not read as pictures", files.map(|path| inside(dir, path))),
        line("folders that programs leave behind", skipped.map(|path| inside(dir, path))),
        line("links to what is read already", again),
        line("folders without a file, which are not classes", empty(false)),
        line("folders of classes that hold no file", empty(true)),
    ];
    all.into_iter().flatten().chain(by_class).collect()
}

/// `not read: 5 files of class a: a/1.txt, a/2.txt, a/3.txt and 2 more`; `None` for no path.
fn line(what: &str, paths: impl Iterator<Item = String>) -> Option<String> {
    let paths: Vec<String> = paths.collect();
    let named = paths[..paths.len().min(NAMED)].join(", ");
    match paths.len() {
        0 => None,
        1..=NAMED => Some(format!("not read, {what}: {named}")),
        n => Some(format!("not read, {what}: {named} and {} more", n - NAMED)),
    }
}

/// The path within the folder, without control characters; `.` for the folder itself.
fn inside(dir: &Path, path: &Path) -> String {
    let path = if path == dir { Path::new(".") } else { path };
    control_chars::without_control(&path.strip_prefix(dir).unwrap_or(path).display().to_string())
}
