//! A feature network in a file: trained on one data set, and taken by every command that scores such images.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{ALL_IMAGES, effgan, events, failure, run, stdout};

/// Stripes along rows and along columns, of any width and shade, in two class folders.
fn stripes(pictures: &Path, [rows, columns]: [&str; 2], side: u32) -> String {
    for (class, lying) in [(rows, true), (columns, false)] {
        fs::create_dir_all(pictures.join(class)).unwrap();
        for i in 0..80 {
            let shade =
                |x: u32, y: u32| if (if lying { y } else { x } + i) / (1 + i % 3) % 2 == 0 { 40 } else { 100 + 2 * i };
            let picture = image::GrayImage::from_fn(side, side, |x, y| image::Luma([shade(x, y) as u8]));
            picture.save(pictures.join(format!("{class}/{i:02}.png"))).unwrap();
        }
    }
    pictures.display().to_string()
}

struct Place(TempDir);

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Stripes of 12 × 12 pixels in `pictures`, and a network for them in `net.safetensors`.
    fn with_network() -> Self {
        let place = Self(TempDir::new().unwrap());
        let pictures = stripes(&place.path("pictures"), ["lying", "upright"], 12);
        let trained =
            effgan(&["features", "train", "folder", "--dir", &pictures, "--out", &place.text("net.safetensors")]);
        let said = stdout(&trained);
        assert!(said.starts_with("test accuracy 100.00 % of 16 images (the largest class has 50.00 %)"), "{trained:?}");
        let mode = fs::metadata(place.path("net.safetensors")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a network knows of private images: its file is its owner's");
        place
    }

    fn evaluate(&self, images: &str, dir: &str) -> Vec<String> {
        let (images, dir, net) = (self.text(images), self.text(dir), self.text("net.safetensors"));
        ["evaluate", &images, "--reference", "folder", "--dir", &dir, "--features", &net].map(str::to_owned).to_vec()
    }
}

fn line(args: &[String]) -> String {
    failure(&effgan(&args.iter().map(String::as_str).collect::<Vec<_>>())).1
}

#[test]
fn a_network_in_a_file_is_that_of_a_run_on_the_same_images_and_gives_its_scores() {
    let place = Place::with_network();
    let (own, named) = (place.path("own"), place.path("named"));
    let dir = format!("dataset.dir={}", place.text("pictures"));
    let features = format!("evaluation.features={}", place.text("net.safetensors"));
    assert!(run(&own, &["dataset.name=folder", &dir, ALL_IMAGES]).status.success());
    let output = run(&named, &["dataset.name=folder", &dir, ALL_IMAGES, &features]);
    assert!(stdout(&output).contains("net.safetensors, trained on folder, test accuracy 100.0 %, "), "{output:?}");
    let scores = |run: &Path| -> Vec<Value> {
        let mut scores: Vec<Value> = events(run).into_iter().filter(|event| event["event"] == "score").collect();
        for score in &mut scores {
            score["seconds"] = Value::Null;
        }
        scores
    };
    assert_eq!(scores(&own), scores(&named));
    assert!(scores(&own).iter().any(|score| score["fd_own"].is_number() && score["own_network"].is_object()));

    // An evaluation takes the network of the run, though the file has another name since.
    let evaluated = |more: &[&str]| -> Value {
        let output = effgan(&[&["evaluate", named.to_str().unwrap(), "--json"], more].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let by_run = evaluated(&[]);
    assert!(by_run["features"].as_str().unwrap().contains("net.safetensors, trained on folder"), "{by_run}");
    // A run is not scored by another network halfway.
    fs::rename(place.path("net.safetensors"), place.path("moved.safetensors")).unwrap();
    let (dir, net) = (place.text("pictures"), place.text("net.safetensors"));
    let other = effgan(&["features", "train", "folder", "--dir", &dir, "--seed", "2", "--epochs", "30", "--out", &net]);
    assert!(other.status.success(), "{other:?}");
    let resumed = failure(&effgan(&["resume", named.to_str().unwrap(), "--set", "algorithm.rounds=3"]));
    assert!(
        resumed.0 == Some(2)
            && resumed.1.contains("the run was scored by another network than ResNet (")
            && resumed.1.ends_with("put the network back that evaluation.features named, or start a new run"),
        "{resumed:?}"
    );
    fs::remove_file(&net).unwrap();
    let moved = evaluated(&["--features", &place.text("moved.safetensors")]);
    assert_eq!((&by_run["fd_own"], &by_run["own_network"]), (&moved["fd_own"], &moved["own_network"]));
    let (code, line) = failure(&effgan(&["evaluate", named.to_str().unwrap()]));
    assert!(code == Some(2) && line.contains("net.safetensors is not a network; give mnist, "), "{line}");
}

#[test]
fn a_network_in_a_file_is_refused_for_images_that_it_was_not_trained_on() {
    let place = Place::with_network();
    stripes(&place.path("renamed"), ["rows", "columns"], 12);
    stripes(&place.path("turned"), ["upright", "lying"], 12);
    stripes(&place.path("larger"), ["lying", "upright"], 18);
    let file = place.text("net.safetensors");
    assert_eq!(
        line(&place.evaluate("pictures", "renamed")),
        format!(
            "effgan: --features {file} was trained to tell lying, upright apart, and the classes of folder are columns, rows; leave it out, \
             or train one on such images with effgan features train"
        )
    );
    assert_eq!(
        line(&place.evaluate("pictures", "turned")),
        format!(
            "effgan: --features {file} was not trained on images like these: it has the class of 0.0 % of 16 reference images right, and the \
             largest class has 50.0 %; leave it out, or train one on such images with effgan features train"
        )
    );
    // Coloured pictures without classes.
    fs::create_dir(place.path("colours")).unwrap();
    for i in 0..60 {
        image::RgbImage::from_pixel(12, 12, image::Rgb([i, 2 * i, 200]))
            .save(place.path(&format!("colours/{i}.png")))
            .unwrap();
    }
    let colours = line(&place.evaluate("pictures", "colours"));
    assert!(
        colours.contains("was trained on grey images, and the reference images are coloured; use inception"),
        "{colours}"
    );
    let larger = place.evaluate("larger", "larger");
    let output = effgan(&larger.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(stdout(&output).contains("are converted to 1 × 12 × 12, the input of ResNet"), "{output:?}");

    // A file that is torn, or of something else.
    let bytes = fs::read(&file).unwrap();
    for (torn, says) in [(&bytes[..bytes.len() / 2], "incomplete metadata"), (&b"x"[..], "header too small")] {
        fs::write(&file, torn).unwrap();
        let said = line(&place.evaluate("pictures", "pictures"));
        assert!(said.starts_with(&format!("effgan: {file}: ")) && said.contains(says), "{said}");
    }
}

#[test]
fn a_network_is_trained_for_any_size_and_colours_and_says_when_it_learns_nothing() {
    let place = Place(TempDir::new().unwrap());
    let pictures = stripes(&place.path("pictures"), ["lying", "upright"], 12);
    let train = |out: &str, more: &[&str]| {
        effgan(&[&["features", "train", "folder", "--dir", &pictures, "--out", &place.text(out)], more].concat())
    };
    let output = train("larger", &["--size", "16", "--channels", "3", "--epochs", "30", "--seed", "7"]);
    assert!(output.status.success(), "{output:?}");
    let scores = effgan(&[
        "evaluate",
        &pictures,
        "--reference",
        "folder",
        "--dir",
        &pictures,
        "--features",
        &place.text("larger"),
    ]);
    assert!(stdout(&scores).contains("are converted to 3 × 16 × 16"), "{scores:?}");

    // A config declares what options do not, such as what is left out.
    fs::write(place.path("pictures/lying/broken.png"), b"no picture").unwrap();
    assert!(failure(&train("broken", &[])).1.contains("dataset.skip_broken = true"));
    let table = format!("dir = \"{pictures}\"\nskip_broken = true");
    let config = include_str!("../../../../configs/quickstart.toml")
        .replace("name = \"mnist-mini\"", &format!("name = \"folder\"\n{table}"));
    let config = config.replace("limit = 2500", "");
    fs::write(place.path("own.toml"), config).unwrap();
    let of_config =
        effgan(&["features", "train", &place.text("own.toml"), "--epochs", "30", "--out", &place.text("own")]);
    assert!(of_config.status.success(), "{of_config:?}");
    let whole = stripes(&place.path("whole"), ["lying", "upright"], 12);
    let scores =
        effgan(&["evaluate", &whole, "--reference", &place.text("own.toml"), "--features", &place.text("own")]);
    assert!(stdout(&scores).contains("left out 1 of 161 images"), "{scores:?}");

    fs::remove_file(place.path("pictures/lying/broken.png")).unwrap();
    stripes(&place.path("pictures"), ["lying", "lying"], 12);
    fs::remove_dir_all(place.path("pictures/upright")).unwrap();
    let (code, line) = failure(&train("none", &[]));
    assert_eq!(
        line,
        "effgan: there is no feature network: the images have no classes, which a feature network would learn"
    );
    assert!(code == Some(3) && !place.path("none").exists());
}
