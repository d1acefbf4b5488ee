//! `effgan sample`: seeds, members, damaged models.

use std::fs;

use crate::program::{effgan, failure, run_tiny, stdout};
use crate::tiny;

#[test]
fn a_sample_depends_on_its_seed_alone() {
    let (folder, run, _) = tiny();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let run = run.to_str().unwrap();
    for (out, num) in [("a.npy", "100"), ("b.npy", "50"), ("grid.png", "64"), ("files", "12")] {
        let output = effgan(&["sample", run, "--num", num, "--seed", "3", "--out", &path(out)]);
        assert!(output.status.success(), "{output:?}");
    }
    let pixels = |name: &str| {
        let bytes = fs::read(path(name)).unwrap();
        let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
        (npy.shape().to_vec(), npy.into_vec::<u8>().unwrap())
    };
    let ((a_shape, a), (b_shape, b)) = (pixels("a.npy"), pixels("b.npy"));
    assert_eq!((a_shape, b_shape), (vec![100, 1, 28, 28], vec![50, 1, 28, 28]));
    assert_eq!(a[..b.len()], b);

    assert_eq!(fs::read_dir(path("files")).unwrap().count(), 12);
    let file = image::open(path("files/07.png")).unwrap().to_luma8();
    assert_eq!(file.into_raw(), a[7 * 784..8 * 784]);
}

#[test]
fn members_and_the_averaged_generator_are_sampled_by_name() {
    let (folder, run, _) = tiny();
    let sample = |members: &[&str]| {
        let out = folder.path().join("sample.npy");
        let _ = fs::remove_file(&out);
        let mut args = vec!["sample", run.to_str().unwrap(), "--num", "64", "--out", out.to_str().unwrap()];
        args.extend(members.iter().flat_map(|member| ["--member", member]));
        let output = effgan(&args);
        (output.status.success().then(|| fs::read(&out).unwrap()), output)
    };
    let [all, one, two, global] = [&[][..], &["client-0001"], &["client-0001", "client-0002"], &["global"]]
        .map(|members| sample(members).0.unwrap());
    assert!(all != one && one != two && two != global && global != all);
    let (code, line) = failure(&sample(&["client-7"]).1);
    assert_eq!(code, Some(2));
    assert_eq!(line, "the model has no member client-7; it has client-0000, client-0001, client-0002");
}

#[test]
fn a_damaged_model_is_code_3_and_one_line() {
    let (folder, run, _) = tiny();
    let out = folder.path().join("grid.png");
    let sample = || failure(&effgan(&["sample", run.to_str().unwrap(), "--out", out.to_str().unwrap()]));
    let member = run.join("model/members/client-0001.safetensors");
    let bytes = fs::read(&member).unwrap();
    fs::write(&member, &bytes[..bytes.len() - 4]).unwrap();
    let (code, line) = sample();
    assert_eq!(code, Some(3));
    assert!(line.contains("client-0001.safetensors: its sha256 is"), "{line}");
    fs::write(run.join("model/manifest.json"), "{}").unwrap();
    assert_eq!(sample().0, Some(3));
    fs::remove_dir_all(run.join("model")).unwrap();
    assert_eq!(sample().0, Some(3));
}

#[test]
fn no_class_of_an_unconditional_model_can_be_drawn_by_name_number_or_all() {
    let (folder, run, _) = tiny();
    let out = folder.path().join("a.npy");
    for class in ["flags", "3", "300", "all"] {
        let output =
            effgan(&["sample", run.to_str().unwrap(), "--num", "4", "--class", class, "--out", out.to_str().unwrap()]);
        let said = format!("class {class} cannot be drawn: the model was trained without network.conditional = true");
        assert_eq!(failure(&output), (Some(2), said));
    }
    assert!(!out.exists());
}

#[test]
fn a_class_that_no_client_has_images_of_is_refused_by_name_and_not_drawn_with_all() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["cat", "dog"] {
        let pictures = folder.path().join("pictures").join(class);
        fs::create_dir_all(&pictures).unwrap();
        for i in 0..20_u8 {
            image::GrayImage::from_pixel(12, 12, image::Luma([10 * i]))
                .save(pictures.join(format!("{i}.png")))
                .unwrap();
        }
    }
    let (run, out) = (folder.path().join("run"), folder.path().join("a.npy"));
    let dataset = format!("dataset={{ name = \"folder\", dir = {:?} }}", folder.path().join("pictures"));
    let settings = [
        dataset.as_str(),
        "partition={ kind = \"iid\", clients = 2, min_examples = 1 }",
        "federation.classes=[\"bee\", \"cat\", \"dog\"]",
        "network.conditional=true",
        "evaluation.samples=2",
    ];
    let output = run_tiny(&run, &settings.map(|setting| ["--set", setting]).concat());
    assert!(output.status.success(), "{output:?}");
    let said = "not drawn, classes of which no client has a training image: bee";
    assert!(stdout(&output).contains(said), "{output:?}");
    let sample = |class: &str| {
        let _ = fs::remove_file(&out);
        effgan(&["sample", run.to_str().unwrap(), "--num", "6", "--class", class, "--out", out.to_str().unwrap()])
    };
    for class in ["bee", "0"] {
        let (code, line) = failure(&sample(class));
        let said = "class bee cannot be drawn: no client had a training image of it; the classes that can be drawn are cat, dog";
        assert!(code == Some(2) && line.ends_with(said), "{line}");
    }
    let pixels = |class| {
        assert!(sample(class).status.success());
        fs::read(&out).unwrap()
    };
    // Cats and dogs in turn.
    let (all, dogs) = (pixels("all"), pixels("dog"));
    let second = all.len() - 6 * 144 + 144..all.len() - 6 * 144 + 288;
    assert_eq!(all[second.clone()], dogs[second]);
}
