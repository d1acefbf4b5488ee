//! A rehearsal gives the site's own answer, and leaves nothing behind.

use std::os::unix::fs::symlink;

use super::*;
use crate::protocol::ledger::lock_site;
use crate::protocol::rehearse;

impl Kit {
    fn rehearsed(&self, config: &str) -> std::result::Result<[u64; 2], (Refusal, String)> {
        rehearse(&self.settings, &Config::parse(config, &[]).unwrap()).outcome
    }

    fn files(&self) -> Vec<(PathBuf, SystemTime)> {
        let mut files: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        files.sort();
        files
    }
}

/// Changes a kit's data folder.
type Change = fn(&Path);

#[test]
fn a_site_answers_as_it_rehearsed() {
    let unsized_images = with("size = 16, ", "");
    let changed: [(&str, String, Change); 11] = [
        ("", CONFIG.into(), |_| ()),
        ("", with("min_examples = 1", "min_examples = 120"), |_| ()),
        ("person = 2\n", CONFIG.into(), |_| ()),
        ("", with("min_examples = 1", "held_out = 0.7"), |_| ()),
        ("", with("base_channels = 2", "base_channels = 1024"), |_| ()),
        ("max_image_size = 8\n", unsized_images.clone(), |_| ()),
        ("max_memory = \"1 MiB\"\n", unsized_images.clone(), |data| images(data, 140, 120)),
        ("", unsized_images, |data| images(data, 140, 30)),
        ("", CONFIG.into(), |data| {
            let file = data.join("cats/000.png");
            fs::write(&file, &fs::read(&file).unwrap()[..60]).unwrap();
        }),
        ("", CONFIG.into(), |data| {
            fs::rename(data.join("cats/000.png"), data.parent().unwrap().join("outside.png")).unwrap();
            symlink(data.parent().unwrap().join("outside.png"), data.join("cats/000.png")).unwrap();
        }),
        ("", CONFIG.into(), |data| fs::write(data.join("../hold-out.secret"), "").unwrap()),
    ];
    let mut refused = Vec::new();
    for (policy, config, change) in changed {
        let kit = Kit::new(&format!("{ANY}{policy}")).joined();
        change(&kit.folder.path().join("data"));
        let before = kit.files();
        let rehearsed = kit.rehearsed(&config);
        assert_eq!(kit.files(), before, "nothing is left behind");
        let answered = kit.query(&config);
        match rehearsed {
            Ok([train, _]) => assert_eq!(answered.numbers["num-examples"], train as f64),
            Err((code, why)) => {
                assert_eq!(Some(code), refusal(&answered), "{why}");
                refused.push(code);
            }
        }
    }
    assert_eq!(
        refused,
        [
            Refusal::TooFewImages,
            Refusal::DataUnusable,
            Refusal::HoldOutTooLarge,
            Refusal::ModelTooLarge,
            Refusal::ImageTooLarge,
            Refusal::TooMuchMemory,
            Refusal::WorkFailed,
            Refusal::DataUnusable,
            Refusal::DataUnusable,
            Refusal::WorkFailed,
        ]
    );
}

#[test]
fn a_rehearsal_needs_no_approval_and_does_not_wait_for_a_site_at_work() {
    let kit = Kit::new("").joined();
    let _lock = lock_site(kit.folder.path()).unwrap().unwrap();
    assert_eq!(kit.rehearsed(CONFIG), Ok([112, 14]));
    assert_eq!(kit.entries(), []);
    let kit = Kit::new("");
    assert_eq!(kit.rehearsed(CONFIG).unwrap_err().0, Refusal::WorkFailed);
    assert!(!kit.folder.path().join("hold-out.secret").exists(), "a rehearsal creates nothing");
}

#[test]
fn a_rehearsal_refuses_a_run_whose_generator_has_left_and_another_hold_out() {
    let kit = Kit::new(ANY).joined();
    assert!(kit.rehearsed(CONFIG).is_ok());
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Collect, 3)), None);
    let longer = with("rounds = 2", "rounds = 3");
    for config in [CONFIG, &longer] {
        assert_eq!(kit.rehearsed(config).unwrap_err().0, Refusal::AlreadyFineTuned);
    }
    let other = with("seed = 1", "seed = 2");
    assert!(kit.rehearsed(&other).is_ok());
    let (code, why) = kit.rehearsed(&other.replace("min_examples = 1", "held_out = 0.2")).unwrap_err();
    assert_eq!(code, Refusal::HoldOutDiffers);
    assert!(
        why.starts_with(
            "this site's hold-out was fixed by its first answer, with held_out = 0.1, and the run requests 0.2"
        ),
        "{why}"
    );
}

#[test]
fn a_rehearsal_refuses_to_train_on_a_single_image() {
    let kit = Kit::new(&format!("{ANY}min_images = 1\nmax_held_out = 0.99\n"));
    // Of one class.
    fs::remove_dir_all(kit.folder.path().join("data/dogs")).unwrap();
    let config = with("min_examples = 1", "min_examples = 1, held_out = 0.99");
    assert_eq!(kit.query(&config).numbers["num-examples"], 1.0);
    let (code, why) = kit.rehearsed(&config).unwrap_err();
    assert_eq!(Some(code), refusal(&kit.round(&config, ExchangeKind::Average, 1)), "{why}");
    assert!(why.contains("north"), "{why}");
}
