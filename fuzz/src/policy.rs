//! A site's policy, and what a run wants of it.

use effgan_fl::policy::Spent;
use effgan_fl::{Policy, RunRequest};

/// Reads the policy before the line `---`, and holds it against the wishes after it, in JSON.
pub fn check(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let (policy, wishes) = text.split_once("\n---\n").unwrap_or((text, ""));
    let policy = match Policy::parse(policy) {
        Ok(policy) => policy,
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains(char::is_control), "an error is one line: {line:?}");
            return;
        }
    };
    let written = serde_json::to_string(&policy).expect("a policy is plain data");
    assert_eq!(serde_json::from_str::<Policy>(&written).expect("a policy that is written is read"), policy);
    let Ok(wishes) = serde_json::from_str::<RunRequest>(wishes) else { return };
    let refused = policy.clauses(&wishes, &Spent::default()).into_iter().find_map(|clause| clause.refusal);
    assert_eq!(policy.check(&wishes, &Spent::default()).err(), refused, "the first rule that does not hold refuses");
}
