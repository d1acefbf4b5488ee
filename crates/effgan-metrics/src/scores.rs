//! The scores of a set of images: the values of its metrics, as they are recorded.

use std::collections::BTreeMap;

use serde::de::{Error as _, IgnoredAny};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::metric::{Metric, Network, Setting, Source};
use crate::{METRICS, Settings, main_metric};

/// How close a set of images is to the reference. Most metrics depend on `n`, and must be compared with the floor, the score of equally
/// many real images against the same reference.
///
/// In a file it is one object: `n`, the metrics in the order of the table, and after the metrics what they were computed with. A metric
/// that was not computed is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Number of images.
    pub n: usize,
    /// Number of reference images; absent in the scores of a run, where it is `n`.
    pub n_reference: Option<usize>,
    /// Values by the names of the metrics.
    pub(crate) values: BTreeMap<&'static str, f64>,
    /// What they were computed with.
    pub settings: Settings,
}

impl Scores {
    /// The value of `metric`; `None` where it was not computed.
    pub fn get(&self, metric: &Metric) -> Option<f64> {
        self.values.get(metric.name).copied()
    }

    /// The main metric of the network that they were computed with, and its value; `None` where no main metric was computed.
    pub fn main(&self) -> Option<(&'static Metric, f64)> {
        let mains = Network::ALL.map(main_metric);
        mains.into_iter().find_map(|metric| Some((metric, self.get(metric)?)))
    }

    /// The metrics that were computed, with their values, in the order of the table.
    pub fn all(&self) -> impl Iterator<Item = (&'static Metric, f64)> {
        METRICS.iter().filter_map(|metric| Some((*metric, self.get(metric)?)))
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("n", &self.n)?;
        if let Some(n) = self.n_reference {
            map.serialize_entry("n_reference", &n)?;
        }
        let Settings { kd_std, kd_subsets, kd_subset_size, nearest_k, class_counts, swd_levels } = &self.settings;
        for (metric, value) in self.all() {
            map.serialize_entry(metric.name, &metric.number(value))?;
            match metric.setting {
                Some(Setting::Subsets) => {
                    map.serialize_entry("kd_std", kd_std)?;
                    map.serialize_entry("kd_subsets", kd_subsets)?;
                    map.serialize_entry("kd_subset_size", kd_subset_size)?;
                }
                Some(Setting::NearestK) => map.serialize_entry("nearest_k", nearest_k)?,
                Some(Setting::ClassCounts) => map.serialize_entry("class_counts", class_counts)?,
                Some(Setting::Levels) => map.serialize_entry("swd_levels", swd_levels)?,
                None => {}
            }
        }
        map.end()
    }
}

/// The object of a file, which may have other fields.
#[derive(Deserialize)]
struct Object {
    n: usize,
    n_reference: Option<usize>,
    #[serde(flatten)]
    settings: Settings,
    #[serde(flatten)]
    others: BTreeMap<String, Field>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Field {
    Number(f64),
    Other(IgnoredAny),
}

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object { n, n_reference, settings, others } = Object::deserialize(deserializer)?;
        let mut values = BTreeMap::new();
        for metric in METRICS.iter().filter(|metric| matches!(metric.source, Source::Features(_))) {
            match others.get(metric.name) {
                Some(Field::Number(value)) => drop(values.insert(metric.name, *value)),
                Some(Field::Other(_)) => return Err(D::Error::custom(format!("{} is not a number", metric.name))),
                None => {}
            }
        }
        Ok(Self { n, n_reference, values, settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores as they were recorded before there was a table, in a run and of `effgan evaluate` with either network, and those of a run
    /// without a network.
    const RECORDED: [&str; 5] = [
        r#"{"n":200,"fd_small":68.73,"class_kl":0.0,"modes":10,"class_counts":[20,180]}"#,
        r#"{"n":9,"n_reference":8,"fd_small":1.5,"kd_small":-0.25,"kd_std":0.1,"kd_subsets":100,"kd_subset_size":8,"precision":1.0,"recall":0.0,"density":1.5,"coverage":0.5,"nearest_k":5,"class_kl":0.5,"modes":7,"class_counts":[2,7]}"#,
        r#"{"n":9,"n_reference":8,"fid":1.5,"kid":-0.25,"kd_std":0.1,"kd_subsets":100,"kd_subset_size":8,"precision":1.0,"recall":0.0,"density":1.5,"coverage":0.5,"nearest_k":5,"class_kl":0.5,"modes":7,"class_counts":[2,7]}"#,
        r#"{"n":9,"n_reference":8,"fid":1.5,"kid":-0.25,"kd_std":0.1,"kd_subsets":100,"kd_subset_size":8,"precision":1.0,"recall":0.0,"density":1.5,"coverage":0.5,"nearest_k":5}"#,
        r#"{"n":9,"swd":2.5,"swd_levels":[{"height":64,"width":28,"swd":3.0},{"height":32,"width":14,"swd":2.0}],"precision":1.0,"recall":0.0,"density":1.5,"coverage":0.5,"nearest_k":5}"#,
    ];

    #[test]
    fn recorded_scores_are_written_as_they_were_read() {
        for text in RECORDED {
            let scores: Scores = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&scores).unwrap(), text);
        }
    }

    #[test]
    fn scores_are_read_beside_other_fields_and_a_metric_that_is_no_number_is_refused() {
        let with = |more: &str| serde_json::from_str::<Scores>(&RECORDED[0].replace('{', &format!("{{{more},")));
        assert_eq!(with(r#""kd":null,"warnings":["a"],"accuracy":{}"#).unwrap(), with("\"round\":3").unwrap());
        assert_eq!(with("\"precision\":null").unwrap_err().to_string(), "precision is not a number");
    }
}
