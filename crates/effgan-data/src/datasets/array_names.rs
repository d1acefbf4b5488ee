//! Which arrays of a file are images and labels, by the names that other tools give them.

use super::npy::{Header, Kind};

/// What arrays of images are called: effgan's and `MedMNIST`'s word first, then those of Keras, scikit-learn and others.
const IMAGES: [&str; 4] = ["images", "image", "x", "data"];
/// What arrays of labels are called.
const LABELS: [&str; 5] = ["labels", "label", "y", "targets", "target"];
/// What to do where no array has a name of these.
const NAME_THEM: &str = "name them images and labels, or train_images, train_labels, test_images and test_labels";
/// Maximum number of arrays that a message lists.
const MAX_LISTED: usize = 12;
/// Maximum number of characters of a name that a message shows.
const MAX_SHOWN: usize = 40;

/// An array of a file.
pub(super) struct Listed {
    pub(super) name: String,
    /// `None` where the file is not an array.
    pub(super) header: Option<Header>,
}

/// The names of images and their labels.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) images: String,
    pub(super) labels: Option<String>,
}

/// The splits that a file has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Splits {
    Whole(Split),
    TrainAndTest([Split; 2]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Train,
    Test,
    /// Named, so that its labels are known as such; not read.
    Validation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Images,
    Labels,
}

/// The arrays of a file, of which each is in at most one split.
pub(super) struct Arrays(pub(super) Vec<Listed>);

/// What is unclear about the arrays of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear {
    pub(super) problem: String,
    /// What to do.
    pub(super) remedy: &'static str,
}

impl Unclear {
    fn new<T>(problem: String, remedy: &'static str) -> Result<T, Self> {
        Err(Self { problem, remedy })
    }
}

impl Arrays {
    /// Images with labels.
    ///
    /// # Errors
    /// What is unclear: no array or several may be the images or the labels, or an array may be labels that would be lost.
    pub(super) fn splits(&self) -> Result<Splits, Unclear> {
        let splits = match (self.images(Part::Train)?, self.images(Part::Test)?) {
            (Some(train), Some(test)) => {
                Splits::TrainAndTest([self.split(train, Part::Train)?, self.split(test, Part::Test)?])
            }
            (None, Some(test)) => {
                let problem = format!("has test images, {}, and no training images", test.shown());
                return Unclear::new(problem, "name the training images train_images, or those that are all images");
            }
            (Some(train), None) => {
                let split = self.split(train, Part::Train)?;
                // There is one array of images that these may be of.
                let labels = split.labels.map_or_else(|| self.labels(Part::Whole), |labels| Ok(Some(labels)))?;
                Splits::Whole(Split { labels, ..split })
            }
            (None, None) => Splits::Whole(match self.images(Part::Whole)? {
                Some(whole) => self.split(whole, Part::Whole)?,
                None => self.without_names()?,
            }),
        };
        self.check_labels(&splits)?;
        Ok(splits)
    }

    /// Images alone: those of no split, or else of the test split, or else of the training split. The second value tells whether
    /// they are a split.
    ///
    /// # Errors
    /// As [`splits`](Self::splits), apart from labels.
    pub(super) fn images_alone(&self) -> Result<(String, bool), Unclear> {
        for part in [Part::Whole, Part::Test, Part::Train] {
            if let Some(images) = self.images(part)? {
                return Ok((images.name.clone(), part != Part::Whole));
            }
        }
        Ok((self.without_names()?.images, false))
    }

    /// All arrays but those of persons, which are called `name`, where it is given, or `name` of a split.
    pub(super) fn without_persons(self, name: Option<&str>) -> Self {
        let Some(name) = name else { return self };
        let names = ["", "train_", "val_", "test_"].map(|part| format!("{part}{name}"));
        Self(self.0.into_iter().filter(|array| !names.contains(&array.name)).collect())
    }

    /// The names of all arrays with their types and shapes.
    pub(super) fn found(&self) -> String {
        if self.0.is_empty() {
            return "nothing".into();
        }
        let described = |array: &Listed| match &array.header {
            Some(header) => format!("{} ({header})", array.shown()),
            None => format!("{} (not an array)", array.shown()),
        };
        listed(self.0.iter().map(described))
    }

    /// The names of the arrays that are in none of `splits`.
    pub(super) fn not_read(&self, splits: &Splits) -> Option<String> {
        let others: Vec<&Listed> = self.0.iter().filter(|array| !splits.has(&array.name)).collect();
        (!others.is_empty()).then(|| listed(others.into_iter().map(Listed::shown)))
    }

    fn images(&self, part: Part) -> Result<Option<&Listed>, Unclear> {
        self.pick(part, Role::Images)
    }

    fn split(&self, images: &Listed, part: Part) -> Result<Split, Unclear> {
        Ok(Split { images: images.name.clone(), labels: self.labels(part)? })
    }

    fn labels(&self, part: Part) -> Result<Option<String>, Unclear> {
        Ok(self.pick(part, Role::Labels)?.map(|labels| labels.name.clone()))
    }

    /// The array of this role. Of several it is the one with the name that effgan and `MedMNIST` give it.
    fn pick(&self, part: Part, role: Role) -> Result<Option<&Listed>, Unclear> {
        let named: Vec<&Listed> = self.0.iter().filter(|array| role_of(&array.name) == Some((part, role))).collect();
        match &named[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [first, second, ..] => {
                let own = own_name(part, role);
                if let Some(array) = named.iter().find(|array| array.name == own) {
                    return Ok(Some(array));
                }
                let [first, second] = [first, second].map(|array| array.shown());
                let problem = format!("has several arrays that may be its {own}, such as {first} and {second}");
                Unclear::new(problem, "rename or remove all but one")
            }
        }
    }

    /// The arrays of `numpy.savez` without names: one alone is images; of two, the one with the shape of images is these, and the
    /// other one labels.
    fn without_names(&self) -> Result<Split, Unclear> {
        let is_unnamed = |array: &Listed| array.name.strip_prefix("arr_").is_some_and(|i| i.parse::<usize>().is_ok());
        let dimensions = |array: &Listed| array.header.as_ref().map_or(0, |header| header.shape.len());
        let split = |images: &Listed, labels: Option<&Listed>| {
            let labels = labels.map(|labels| labels.name.clone());
            Ok(Split { images: images.name.clone(), labels })
        };
        match &self.0[..] {
            arrays if arrays.is_empty() || !arrays.iter().all(is_unnamed) => {
                Unclear::new("has no array of a known name".into(), NAME_THEM)
            }
            [one] => split(one, None),
            [a, b] => match [a, b].map(dimensions) {
                [3 | 4, 1 | 2] => split(a, Some(b)),
                [1 | 2, 3 | 4] => split(b, Some(a)),
                _ => Unclear::new(
                    "has no names, and not one array of images and one of labels by their shapes".into(),
                    NAME_THEM,
                ),
            },
            _ => Unclear::new("has no names, and more arrays than images and their labels".into(), NAME_THEM),
        }
    }

    /// Checks that both splits have labels or none, and that no array that may be labels is lost.
    fn check_labels(&self, splits: &Splits) -> Result<(), Unclear> {
        let labelled = match splits {
            Splits::Whole(split) => [&split.labels; 2],
            Splits::TrainAndTest([train, test]) => [&train.labels, &test.labels],
        };
        match labelled {
            [Some(_), Some(_)] => return Ok(()),
            [Some(train), None] => {
                let problem =
                    format!("has labels of the training images, {}, and none of the test images", short(train));
                return Unclear::new(problem, "add test_labels, or remove all labels");
            }
            [None, Some(test)] => {
                let problem =
                    format!("has labels of the test images, {}, and none of the training images", short(test));
                return Unclear::new(problem, "add train_labels, or remove all labels");
            }
            [None, None] => {}
        }
        let lost = self.0.iter().find(|array| !splits.has(&array.name) && self.may_be_labels(array, splits));
        lost.map_or(Ok(()), |array| {
            let problem = format!("has images without labels, and {}, which may be their labels", array.shown());
            Unclear::new(problem, "name it labels (train_labels and test_labels of two splits); name it in dataset.person if it says whose the images are; or remove it")
        })
    }

    /// Whether `array` has the name of labels, or one whole number for each image.
    fn may_be_labels(&self, array: &Listed, splits: &Splits) -> bool {
        let num = |array: &Listed| array.header.as_ref().and_then(|header| header.shape.first().copied());
        let is_whole = |header: &Header| header.numbers().is_some_and(Kind::is_whole);
        let is_list = |header: &Header| matches!(*header.shape, [_] | [_, 1]) && is_whole(header);
        let is_of_images = |images: &Listed| splits.has(&images.name) && num(images) == num(array);
        matches!(role_of(&array.name), Some((_, Role::Labels)))
            || array.header.as_ref().is_some_and(is_list) && self.0.iter().any(is_of_images)
    }
}

impl Splits {
    fn has(&self, name: &str) -> bool {
        let splits = match self {
            Self::Whole(split) => std::slice::from_ref(split),
            Self::TrainAndTest(splits) => splits,
        };
        splits.iter().any(|split| split.images == name || split.labels.as_deref() == Some(name))
    }
}

impl Listed {
    /// The name in messages.
    fn shown(&self) -> String {
        short(&self.name)
    }
}

/// What an array is by its name, in capital or small letters: `images`, `train_images`, `images_train`, `x_train`, …
fn role_of(name: &str) -> Option<(Part, Role)> {
    let name = name.to_ascii_lowercase();
    let Some((before, after)) = name.split_once('_') else { return Some((Part::Whole, role(&name)?)) };
    match (part(before), part(after)) {
        (Some(part), None) => Some((part, role(after)?)),
        (None, Some(part)) => Some((part, role(before)?)),
        _ => None,
    }
}

fn part(word: &str) -> Option<Part> {
    match word {
        "train" => Some(Part::Train),
        "test" => Some(Part::Test),
        "val" | "valid" | "validation" => Some(Part::Validation),
        _ => None,
    }
}

fn role(word: &str) -> Option<Role> {
    if IMAGES.contains(&word) {
        Some(Role::Images)
    } else if LABELS.contains(&word) {
        Some(Role::Labels)
    } else {
        None
    }
}

/// The name that effgan and `MedMNIST` give to an array.
fn own_name(part: Part, role: Role) -> String {
    let part = match part {
        Part::Whole => "",
        Part::Train => "train_",
        Part::Test => "test_",
        Part::Validation => "val_",
    };
    let role = match role {
        Role::Images => "images",
        Role::Labels => "labels",
    };
    format!("{part}{role}")
}

/// The first of the names, and how many more there are.
pub(super) fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(MAX_LISTED);
    let first = names.take(MAX_LISTED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

/// The beginning of a name, which is all of it where it is short.
pub(super) fn short(name: &str) -> String {
    match name.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
