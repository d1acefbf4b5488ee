//! The files of a site: its hold-out, its ledger and what it remembers of runs.

use effgan_data::download;

use super::*;

#[test]
fn the_hold_out_is_the_sites_own_and_is_split_once() {
    let kit = Kit::new(ANY);
    let split = |kit: &Kit, config: &str| split(&kit.settings, Config::parse(config, &[]).unwrap()).unwrap();
    let first = split(&kit, CONFIG);
    assert_eq!((first.train.len(), first.held_out.len()), (112, 14));
    for other in [with("seed = 1", "seed = 2"), with("size = 16", "size = 8")] {
        assert_eq!(split(&kit, &other), first, "the server's seed and image size do not change it");
    }
    assert_ne!(split(&Kit::new(ANY), CONFIG), first, "another secret, another hold-out");
    assert_eq!(refusal(&kit.query(CONFIG)), None);
    let other = with("min_examples = 1", "min_examples = 1, held_out = 0.05");
    assert_eq!(refusal(&kit.query(&other)), Some(Refusal::HoldOutDiffers));
}

#[test]
fn a_site_that_has_lost_its_hold_out_secret_makes_no_other_hold_out() {
    let kit = Kit::new(ANY);
    assert_eq!(refusal(&kit.query(CONFIG)), None);
    let secret = kit.folder.path().join("hold-out.secret");
    let kept = fs::read(&secret).unwrap();
    fs::remove_file(&secret).unwrap();
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WorkFailed));
    assert!(!secret.exists());
    fs::write(&secret, kept).unwrap();
    assert_eq!(refusal(&kit.query(CONFIG)), None);
}

#[test]
fn every_answer_is_in_the_ledger_as_it_left() {
    let kit = Kit::new(ANY);
    kit.query(CONFIG);
    let params = start(CONFIG);
    let reply = kit.ask("train", site_message(CONFIG, ExchangeKind::Average, 1, params.clone()));
    let entries = kit.entries();
    let [Entry::Answered(query), Entry::Answered(train)] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(query.words.keys().collect::<Vec<_>>(), ["client-name", "version"]);
    assert_eq!(query.run_request.as_ref().unwrap().images, Some(112));
    assert_eq!(query.asked.config, params::sha256(CONFIG.as_bytes()));
    assert_eq!((train.asked.kind.as_str(), train.asked.round), ("average", Some(1)));
    assert_eq!(train.asked.received, Some(params.hash()));
    for (name, array) in &reply.params {
        let bytes: Vec<u8> = array.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(
            (train.arrays[name].bytes, &train.arrays[name].sha256),
            (bytes.len() as u64, &params::sha256(&bytes))
        );
    }
    for name in ["num-examples", "loss_d", "loss_g", "steps", "seconds"] {
        assert_eq!(train.numbers[name], reply.numbers[name]);
    }
    assert_eq!(train.trained, effgan_fl::policy::Amount { rounds: 1, steps: 2, passes: 1.0, private: Vec::new() });
    assert_eq!(reply.ledger().unwrap(), Some(kit.ledger().read(|_, _| ()).unwrap().hash.as_str()));
    let mode = |name: &str| fs::metadata(kit.folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ledger.jsonl"), mode("hold-out.secret"), mode("state")), (0o600, 0o600, 0o700));
}

#[test]
fn a_site_whose_ledger_was_changed_or_cannot_be_written_answers_nothing() {
    let kit = Kit::new(ANY);
    kit.query(CONFIG);
    kit.round(CONFIG, ExchangeKind::Average, 1);
    let path = kit.folder.path().join("ledger.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"steps\":2", "\"steps\":1")).unwrap();
    let changed = kit.query(CONFIG);
    // The hash of the last line stands in the line after it: a change is seen once that is written.
    assert_eq!(refusal(&changed), None);
    fs::write(&path, text.replacen("\"classes\":2", "\"classes\":3", 1)).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 2)), Some(Refusal::WorkFailed));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let unwritten = kit.query(CONFIG);
    assert_eq!(
        (refusal(&unwritten), unwritten.numbers.contains_key("num-examples")),
        (Some(Refusal::WorkFailed), false)
    );
}

#[test]
fn a_query_makes_a_site_remove_the_state_of_old_runs() {
    let kit = Kit::new(&format!("{ANY}keep_days = 30\n"));
    let days_ago = |days: u64| SystemTime::now() - Duration::from_hours(24 * days);
    let run = |name: &str, days: u64| {
        let folder = kit.settings.state_dir.join(name).join("north");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("memory"), "of it").unwrap();
        fs::File::options().write(true).open(folder.join("memory")).unwrap().set_modified(days_ago(days)).unwrap();
        kit.settings.state_dir.join(name)
    };
    let (old, new, foreign) = (run("0123456789abcdef", 31), run("fedcba9876543210", 29), run("another-name", 31));
    assert_eq!(refusal(&kit.query(CONFIG)), None);
    assert_eq!([old, new, foreign].map(|path| path.exists()), [false, true, true]);
}

/// The server's config asks for a cache, and then against one; the site's policy alone decides.
#[test]
fn a_site_makes_no_second_copy_of_its_images_unless_its_policy_names_a_folder() {
    let of_user = download::cache_dir().unwrap().join("decoded");
    let before = files_below(&of_user);
    let cache = tempfile::tempdir().unwrap();
    let named = format!("{ANY}image_cache = {:?}\n", cache.path());
    let [without, with_folder] = [ANY, &*named].map(|policy| {
        let kit = Kit::new(policy);
        let folder = kit.folder.path().join("data");
        // Enough bytes to be worth a cache: what follows a picture in its file does not matter.
        for file in files_below(&folder) {
            fs::File::options().append(true).open(&file).unwrap().set_len(1 << 18).unwrap();
        }
        kit
    });
    // Until the images are old enough to be trusted.
    std::thread::sleep(Duration::from_millis(2100));
    let ask = |kit: &Kit, cache: bool| {
        let config = with("channels = 1 }", &format!("channels = 1, cache = {cache} }}"));
        assert_eq!(refusal(&kit.query(&config)), None);
        assert_eq!(refusal(&kit.round(&config, ExchangeKind::Average, 1)), None);
    };
    ask(&without, true);
    ask(&with_folder, false);
    let pixels = image::open(without.folder.path().join("data/cats/000.png")).unwrap().into_luma8().into_raw();
    let copies = |folder: &Path| {
        let holds = |file: &PathBuf| fs::read(file).unwrap().windows(pixels.len()).any(|part| part == pixels);
        files_below(folder).into_iter().filter(holds).collect::<Vec<_>>()
    };
    assert!(copies(without.folder.path()).is_empty() && copies(with_folder.folder.path()).is_empty());
    assert_eq!(files_below(&of_user), before);
    let [copy] = &copies(cache.path())[..] else { panic!("one copy, in the folder of the policy") };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(copy), mode(copy.parent().unwrap())), (0o600, 0o700));
}

/// A server that names a device in its config, and a site that names one which it does not have.
#[test]
fn what_trains_at_a_site_is_its_own_choice() {
    let of_server = format!("{CONFIG}\n[run]\ndevice = \"gpu:255\"\n");
    let kit = Kit::new(ANY);
    assert_eq!(refusal(&kit.query(&of_server)), None);
    assert_eq!(refusal(&kit.round(&of_server, ExchangeKind::Average, 1)), None);
    let kit = Kit::new(&format!("{ANY}device = \"gpu:255\"\n"));
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), Some(Refusal::WorkFailed));
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A site that is stopped in the middle of its work, and gets another effgan before it goes on.
#[test]
fn unfinished_work_of_another_arithmetic_is_refused_in_one_line() {
    let kit = Kit::new(ANY);
    let message = || site_message(CONFIG, ExchangeKind::Average, 1, start(CONFIG));
    answer(&kit.settings, "train", message(), &AtomicBool::new(true)).unwrap_err();
    let run = kit.settings.state_dir.join(&params::sha256(b"run1")[..16]);
    let work = run.join("north/round_0001/north.work.safetensors");
    let (mut head, tensors) = sealed::load::<serde_json::Value>(&work).unwrap();
    head["asked"]["run"].as_object_mut().unwrap().remove("arithmetic_version").unwrap();
    sealed::save(&work, &head, &tensors).unwrap();
    assert_eq!(refusal(&kit.ask("train", message())), Some(Refusal::WorkFailed));
    let Some(Entry::Refused(refused)) = kit.entries().pop() else { panic!("a refusal") };
    let line = FlError::OtherArithmetic { path: work, version: ArithmeticVersion(1) }.to_string();
    assert_eq!(refused.why, line);
}
