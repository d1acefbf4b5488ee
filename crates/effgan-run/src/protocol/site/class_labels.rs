//! What the labels at all sites mean: a label is a place in the list `federation.classes`, whichever of the classes a site has.
//!
//! Without the list, each site would number its own folders alphabetically, and a conditional network would be taught different classes
//! under one label. Data sets with fixed classes need no list, nor do arrays and IDX files, whose labels stay the numbers that they are.

use std::path::Path;

use effgan_data::{DataError, Dataset};
use effgan_fl::Refusal;

use crate::config::Config;
use crate::failure::Failure;

/// Reads a site's images, labelled by the config's list of classes. Decoded pictures are kept in `cache`, the folder that the site's
/// policy names, or nowhere, whatever the config says.
///
/// # Errors
/// The code for the server, and the failure for the site alone, since it may name folders.
pub fn load(config: &Config, cache: Option<&Path>) -> Result<Dataset, (Refusal, Failure)> {
    config.check_classes().map_err(|failure| (Refusal::ClassNamesNotAllowed, failure))?;
    let classes = config.federation.classes.as_deref();
    config.dataset.load_at_site(classes, cache).map_err(|error| (refusal(&error), error.into()))
}

/// The code for what is wrong with a site's images.
pub(super) fn refusal(error: &DataError) -> Refusal {
    match error {
        DataError::UnknownClass { .. } | DataError::FewerClasses { .. } => Refusal::UnknownClass,
        DataError::TooMuchMemory { .. } => Refusal::TooMuchMemory,
        _ => Refusal::DataUnusable,
    }
}

/// The names of `num_classes` classes at the server, which sees no image: the config's, or the data set's, or numbers.
pub fn names(config: &Config, num_classes: usize) -> Vec<String> {
    let fixed = config.dataset.name.classes();
    match &config.federation.classes {
        Some(names) => names.clone(),
        None if fixed.len() == num_classes => fixed.iter().map(ToString::to_string).collect(),
        None => (0..num_classes).map(|class| class.to_string()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use effgan_data::DatasetName;

    use super::*;

    fn site(folder: &Path, classes: &[&str]) -> Config {
        for class in classes {
            fs::create_dir_all(folder.join(class)).unwrap();
            for i in 0..10 {
                let shade = image::Luma([class.as_bytes()[0]]);
                image::GrayImage::from_pixel(28, 28, shade).save(folder.join(class).join(format!("{i}.png"))).unwrap();
            }
        }
        let settings = [
            "dataset={name=\"folder\"}".to_owned(),
            "network.conditional=true".into(),
            "federation.classes=[\"animals\",\"food\",\"objects\",\"smileys\"]".into(),
        ];
        let mut config = Config::parse(include_str!("../../../../../configs/quickstart.toml"), &settings).unwrap();
        config.dataset.dir = Some(folder.into());
        config
    }

    #[test]
    fn two_sites_with_different_folders_give_each_class_name_the_same_label() {
        let (north, south) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (folder, classes) in [(&north, ["animals", "food", "objects"]), (&south, ["animals", "objects", "smileys"])]
        {
            let dataset = load(&site(folder.path(), &classes), None).unwrap();
            assert_eq!((dataset.train.num_classes(), dataset.class_names.len()), (4, 4));
            for i in 0..dataset.train.len() {
                let name = &dataset.class_names[usize::from(dataset.train.labels()[i])];
                assert_eq!(dataset.train.image(i)[0], name.as_bytes()[0], "{name}");
            }
        }
    }

    #[test]
    fn the_site_learns_the_name_of_a_folder_that_is_not_listed_and_the_server_only_a_code() {
        let folder = tempfile::tempdir().unwrap();
        let (code, failure) = load(&site(folder.path(), &["animals", "mueller 1961"]), None).unwrap_err();
        assert_eq!(code, Refusal::UnknownClass);
        let line = failure.line();
        assert!(line.contains("holds images of \"mueller 1961\", which is not one of federation.classes"), "{line}");
    }

    #[test]
    fn a_conditional_network_over_folders_needs_the_list_of_classes() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = site(folder.path(), &["animals"]);
        config.federation.classes = None;
        assert_eq!(load(&config, None).unwrap_err().0, Refusal::ClassNamesNotAllowed);
        let line = config.check_federated().unwrap_err().line();
        assert!(
            line.starts_with("network.conditional = true with dataset.name = \"folder\" needs federation.classes"),
            "{line}"
        );
        config.dataset.name = DatasetName::Npz;
        config.check_federated().unwrap();
    }
}
