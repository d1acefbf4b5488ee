//! The table of metrics. Whoever prints, charts, tabulates or exports scores loops over it and asks each metric for its name, format and
//! direction, so that a new row appears everywhere.

use crate::metric::{Beside, Better, Cost, InRun, Line, Metric, Network, Setting, Source, Summary, Unit};
use crate::{ClassHistogram, Settings};

/// The metric by which runs that are scored with `network` are compared: that of headlines, charts and captions. Whoever scores
/// computes it.
///
/// A recorded score without any of them is not read. With another main metric, the scores of all earlier runs become unreadable lines of
/// their `metrics.jsonl`, unless effgan-run reads them by the metric that was the main one then.
pub fn main_metric(network: Network) -> &'static Metric {
    match network {
        Network::Small => FD_SMALL,
        Network::Own => FD_OWN,
        Network::LowPass => SWD,
        Network::Inception => FID,
    }
}

const FID: &Metric = &Metric {
    decimals: 3,
    network: Some(Network::Inception),
    cost: Cost::EveryRound(InRun {
        decimals: 2,
        line: Some(Line { label: "fid", width: 7 }),
        about: "fid is the Fréchet distance on the features of Inception-2015: lower is closer. Compare it only at the same n and resize, and \
                with the floor, the score of as many real images.",
    }),
    summary: Some(Summary { heading: "FID", decimals: 1 }),
    ..lower("fid", Source::Features(|pair| pair.frechet_distance().map(Some)))
};

const FD_SMALL: &Metric = &Metric {
    decimals: 2,
    network: Some(Network::Small),
    cost: Cost::EveryRound(InRun {
        decimals: 2,
        line: Some(Line { label: "fd_small", width: 7 }),
        about: "fd_small is the Fréchet distance on the features of a small network: lower is closer. It is not an FID: the network differs, \
                and so does the scale. Compare it only at the same n, and with the floor, the score of as many real images.",
    }),
    summary: Some(Summary { heading: "fd_small", decimals: 1 }),
    remark: Some(|_| "lower is closer; not an FID".into()),
    ..lower("fd_small", Source::Features(|pair| pair.frechet_distance().map(Some)))
};

const FD_OWN: &Metric = &Metric {
    decimals: 2,
    network: Some(Network::Own),
    cost: Cost::EveryRound(InRun {
        decimals: 2,
        line: Some(Line { label: "fd_own", width: 7 }),
        about: "fd_own is the Fréchet distance on the features of a small network that was trained on such images: lower is closer. It is not \
                an FID, and each data set has a network and a scale of its own. Compare it only with the same network at the same n, and with the \
                floor, the score of as many real images.",
    }),
    summary: Some(Summary { heading: "fd_own", decimals: 1 }),
    setting: Some(Setting::OwnNetwork),
    remark: Some(|settings| {
        let network = settings.own_network.as_ref();
        let network = network.map(|network| format!("; network {}", network.short_hash())).unwrap_or_default();
        format!("lower is closer; not an FID{network}")
    }),
    ..lower("fd_own", Source::Features(|pair| pair.frechet_distance().map(Some)))
};

const SWD: &Metric = &Metric {
    decimals: 2,
    network: Some(Network::LowPass),
    cost: Cost::EveryRound(InRun {
        decimals: 2,
        line: Some(Line { label: "swd", width: 6 }),
        about: "swd is the sliced Wasserstein distance between patches of 7 × 7 pixels on the levels of Laplacian pyramids, as the mean over the \
                levels: lower is closer. It compares textures at each size, and not what the images show. Compare it only within a data set at \
                the same n, and with the floor, the score of as many real images.",
    }),
    summary: Some(Summary { heading: "swd", decimals: 1 }),
    setting: Some(Setting::Levels),
    remark: Some(|_| "lower is closer; mean over the levels of the pyramids".into()),
    ..lower("swd", Source::Features(|pair| Ok(pair.sliced_wasserstein())))
};

/// How a run without a network shows what neighbours tell.
const fn with_low_pass(line: Option<Line>, about: &'static str) -> Cost {
    Cost::EveryRoundWith(Network::LowPass, InRun { decimals: 2, line, about })
}

/// All metrics, in the order in which they are printed and recorded.
pub const METRICS: &[&Metric] = &[
    FID,
    FD_SMALL,
    FD_OWN,
    SWD,
    &Metric {
        decimals: 5,
        network: Some(Network::Inception),
        cost: Cost::EveryRound(InRun {
            decimals: 4,
            line: None,
            about: "kid is the squared kernel distance on the same features: lower is closer, and except for noise it does not depend on n.",
        }),
        setting: Some(Setting::Subsets),
        remark: Some(|settings| format!("lower is closer; {}", deviation(settings))),
        ..lower("kid", Source::Features(|pair| Ok(Some(pair.kernel()?.mean))))
    },
    &Metric {
        network: Some(Network::Small),
        beside: Some(("kd_std", Beside::Deviation)),
        setting: Some(Setting::Subsets),
        remark: Some(|settings| format!("lower is closer; not a KID; {}", deviation(settings))),
        ..lower("kd_small", Source::Features(|pair| Ok(Some(pair.kernel()?.mean))))
    },
    &Metric {
        network: Some(Network::Own),
        setting: Some(Setting::Subsets),
        remark: Some(|settings| format!("lower is closer; not a KID; {}", deviation(settings))),
        ..lower("kd_own", Source::Features(|pair| Ok(Some(pair.kernel()?.mean))))
    },
    &Metric {
        cost: with_low_pass(
            None,
            "Neighbours are searched among low-passes of 16 × 16 pixels. Precision is the share of images that are among real ones.",
        ),
        summary: Some(Summary { heading: "precision", decimals: 2 }),
        remark: Some(|settings| {
            format!("higher is better; {} nearest neighbours", settings.nearest_k.unwrap_or_default())
        }),
        ..higher("precision", Source::Features(|pair| Ok(Some(pair.prdc()?.precision))))
    },
    &Metric {
        cost: with_low_pass(None, "Recall is the share of real images that are among the scored ones."),
        summary: Some(Summary { heading: "recall", decimals: 2 }),
        ..higher("recall", Source::Features(|pair| Ok(Some(pair.prdc()?.recall))))
    },
    &Metric {
        cost: with_low_pass(
            Some(Line { label: "density", width: 4 }),
            "Density is how densely real images lie around the scored ones (about 1 for real images), and is high, too, where these are all alike.",
        ),
        summary: Some(Summary { heading: "density", decimals: 2 }),
        ..higher("density", Source::Features(|pair| Ok(Some(pair.prdc()?.density))))
    },
    &Metric {
        cost: with_low_pass(
            Some(Line { label: "coverage", width: 4 }),
            "Coverage is the share of real images that have a scored one near them (about 0.97 for real images; low where images are all alike).",
        ),
        summary: Some(Summary { heading: "coverage", decimals: 2 }),
        setting: Some(Setting::NearestK),
        ..higher("coverage", Source::Features(|pair| Ok(Some(pair.prdc()?.coverage))))
    },
    &Metric {
        label: "class KL",
        unit: Unit::Nats,
        needs_classes: true,
        cost: Cost::EveryRound(InRun {
            decimals: 3,
            line: Some(Line { label: "KL", width: 5 }),
            about: "Class KL is the divergence of the predicted class shares from those of the reference (nats; 0 is equal).",
        }),
        summary: Some(Summary { heading: "class KL", decimals: 3 }),
        ..lower("class_kl", Source::Features(|pair| pair.of_classes(ClassHistogram::kl)))
    },
    &Metric {
        unit: Unit::Classes,
        needs_classes: true,
        decimals: 0,
        cost: Cost::EveryRound(InRun {
            decimals: 0,
            line: Some(Line { label: "modes", width: 2 }),
            about: "A mode is a class with at least a tenth of its share in the reference.",
        }),
        summary: Some(Summary { heading: "modes", decimals: 1 }),
        setting: Some(Setting::ClassCounts),
        ..higher(
            "modes",
            Source::Features(|pair| {
                pair.of_classes(|images, real| Ok(ClassHistogram::modes_hit(images, real)? as f64))
            }),
        )
    },
    &Metric {
        needs_classes: true,
        summary: Some(Summary { heading: "accuracy of a classifier trained on samples", decimals: 3 }),
        beside: Some(("accuracy_of_real", Beside::Floor)),
        ..higher("accuracy", Source::Classifier(|trained| trained.accuracy))
    },
    &Metric {
        label: "ratio",
        better: Better::Near(1.0),
        decimals: 3,
        ..lower("memorisation_ratio", Source::Memorisation(|found| found.ratio))
    },
    &Metric {
        label: "AUC",
        better: Better::Near(0.5),
        decimals: 3,
        summary: Some(Summary { heading: "memorisation AUC", decimals: 2 }),
        beside: Some(("memorisation_auc_of_members", Beside::LargestOfMembers)),
        ..lower("memorisation_auc", Source::Memorisation(|found| found.auc))
    },
];

/// The metrics that a run computes with `network` in the rounds that it scores, in the order of the table.
pub fn metrics_in_run(network: Network) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().copied().filter(move |metric| metric.is_in_run(network))
}

/// A row whose label is its name, for a number without a unit of which lower is closer.
const fn lower(name: &'static str, source: Source) -> Metric {
    Metric {
        name,
        label: name,
        unit: Unit::None,
        better: Better::Lower,
        decimals: 4,
        network: None,
        needs_classes: false,
        cost: Cost::Evaluation,
        summary: None,
        beside: None,
        setting: None,
        remark: None,
        source,
    }
}

/// The same for a number of which higher is better.
const fn higher(name: &'static str, source: Source) -> Metric {
    Metric { better: Better::Higher, ..lower(name, source) }
}

fn deviation(settings: &Settings) -> String {
    let (std, subsets, size) = (settings.kd_std, settings.kd_subsets, settings.kd_subset_size);
    format!(
        "± {:.5} over {} subsets of {}",
        std.unwrap_or_default(),
        subsets.unwrap_or_default(),
        size.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../../docs/scores.md");
    const RUN_FOLDER: &str = include_str!("../../../docs/run-folder.md");

    /// The anchor that GitHub gives to a heading.
    fn anchor(heading: &str) -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    }

    #[test]
    fn the_docs_have_a_row_and_a_section_for_each_metric() {
        let anchors: Vec<String> = DOCS.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        let rows: Vec<&str> =
            DOCS.split_once("## All metrics").unwrap().1.split("\n## ").next().unwrap().lines().collect();
        let rows: Vec<&&str> = rows.iter().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), METRICS.len(), "docs/scores.md has one row for each metric, in the order of the table");
        for (row, metric) in rows.iter().zip(METRICS) {
            let when = match metric.cost {
                Cost::EveryRound(_) => "run",
                Cost::EveryRoundWith(..) => "evaluate, run without classes",
                Cost::Evaluation => "evaluate",
            };
            let start = format!("| `{}` | {} | {when} | [", metric.name, metric.better.word());
            assert!(row.starts_with(&start), "{row} does not start with {start}");
            let (section, _) = row.rsplit_once(") |").unwrap();
            let section = section.rsplit_once("(#").unwrap().1;
            assert!(
                anchors.iter().any(|anchor| anchor == section),
                "there is no section {section} for {}",
                metric.name
            );
        }
    }

    #[test]
    fn the_docs_of_the_run_folder_have_the_column_and_the_tag_of_each_metric_of_a_run() {
        for name in METRICS.iter().filter(|metric| metric.in_run().is_some()).map(|metric| metric.name) {
            assert!(
                RUN_FOLDER.contains(&format!("`{name}`")),
                "docs/run-folder.md lacks the column {name} of metrics.csv"
            );
            assert!(
                RUN_FOLDER.contains(&format!("`{name}/…`")),
                "docs/run-folder.md lacks the tag {name}/… of TensorBoard"
            );
        }
    }

    #[test]
    fn names_are_of_one_metric_each() {
        for (i, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..i].iter().all(|other| other != metric), "{} is in the table twice", metric.name);
            assert!(metric.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", metric.name);
        }
    }

    #[test]
    fn a_run_computes_the_main_metric_of_its_network_and_that_of_no_other() {
        for network in [Network::Small, Network::Own, Network::LowPass] {
            let main: Vec<_> = metrics_in_run(network).filter(|metric| metric.network.is_some()).collect();
            assert_eq!(main, [main_metric(network)], "{network:?}");
        }
        let inception: Vec<_> = metrics_in_run(Network::Inception).filter(|metric| metric.network.is_some()).collect();
        assert_eq!(inception.iter().map(|metric| metric.name).collect::<Vec<_>>(), ["fid", "kid"]);
    }

    #[test]
    fn the_best_value_is_lowest_highest_or_nearest_and_never_nan() {
        let best = |better: Better| better.best([0.75, f64::NAN, 0.25, 0.625].into_iter());
        let found = [Better::Lower, Better::Higher, Better::Near(0.5)].map(best);
        assert_eq!(found, [Some(0.25), Some(0.75), Some(0.625)]);
        assert_eq!(Better::Lower.best([f64::NAN].into_iter()), None);
    }
}
