//! A run of many rounds: what it holds does not grow with them.

use super::*;

/// Kilobytes in memory and open files of a process.
fn held(child: &Child) -> (u64, usize) {
    let process = PathBuf::from("/proc").join(child.id().to_string());
    let status = fs::read_to_string(process.join("status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let files = fs::read_dir(process.join("fd")).unwrap().count();
    (rss.trim().strip_suffix(" kB").unwrap().parse().unwrap(), files)
}

#[test]
#[cfg(target_os = "linux")]
fn five_hundred_rounds_hold_no_more_memory_or_files_than_a_hundred() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = [
        "algorithm={ kind = \"fedgan\", rounds = 500 }",
        "evaluation.every=500",
        "local={ batch_size = 4, steps = 1 }",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let mut child = Command::new(env!("CARGO_BIN_EXE_effgan"))
        .args(["run", &golden("tiny.toml"), "--out", text(&run), "--jobs", "2"])
        .args(settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut at_100, mut at_490) = (None, None);
    for line in lines.map(|line| line.unwrap()) {
        match line.split_whitespace().nth(1) {
            Some("100") => at_100 = Some((held(&child), fs::read(run.join("metrics.jsonl")).unwrap())),
            Some("490") => at_490 = Some((held(&child), fs::read(run.join("metrics.jsonl")).unwrap())),
            _ => {}
        }
    }
    assert!(child.wait().unwrap().success());
    let (((kilobytes, files), metrics), ((later_kilobytes, later_files), later_metrics)) =
        (at_100.unwrap(), at_490.unwrap());
    println!(
        "after 100 rounds {kilobytes} kB and {files} files, after 490 {later_kilobytes} kB and {later_files} files"
    );
    assert_eq!(files, later_files);
    // What the allocator lets lie about comes to 6 MB in a thousand rounds and no more; half a state of the networks
    // (52 kB), kept for each of 390 rounds, would be 10 MB.
    assert!(later_kilobytes < kilobytes + 8 * 1024, "{kilobytes} kB, later {later_kilobytes} kB");
    assert!(later_metrics.starts_with(&metrics) && later_metrics.len() > 4 * metrics.len(), "appended to");
    assert_eq!(states(&run).len(), 2, "the last states are kept, and no others");
}
