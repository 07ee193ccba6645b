//! What `edge-outbox doctor --json` finds.

use serde_json::Value;

use super::program::Home;

/// Everything that it found, and what it exited with.
pub(crate) struct Report {
    pub(crate) findings: Vec<Value>,
    pub(crate) code: i32,
}

impl Report {
    /// Of the program in this home, with these flags.
    #[track_caller]
    pub(crate) fn of(home: &Home, flags: &[&str]) -> Self {
        let ended = home.run(&[&["doctor", "--json"], flags].concat());
        let findings = serde_json::from_str(&ended.stdout);
        let report = Self {
            findings: findings.unwrap_or_else(|error| panic!("{error}: {ended:?}")),
            code: ended.code,
        };
        let expected = if report.failed().is_empty() { 0 } else { 3 };
        assert_eq!((report.code, ended.stderr.as_str()), (expected, ""));
        for finding in &report.findings {
            let has_advice = finding["hint"].is_string() || finding["verdict"] == "ok";
            assert!(has_advice, "{finding} does not say what to do");
        }
        report
    }

    /// Every finding of a check.
    pub(crate) fn all(&self, check: &str) -> Vec<&Value> {
        let findings = self.findings.iter();
        findings.filter(|it| it["check"] == check).collect()
    }

    /// The one finding of a check.
    #[track_caller]
    pub(crate) fn only(&self, check: &str) -> &Value {
        match self.all(check).as_slice() {
            [finding] => finding,
            others => panic!("{check}: {others:?} in {:#?}", self.findings),
        }
    }

    /// The checks that failed.
    pub(crate) fn failed(&self) -> Vec<String> {
        self.with_verdict("fail")
    }

    /// The checks that ended in this verdict.
    pub(crate) fn with_verdict(&self, verdict: &str) -> Vec<String> {
        let findings = self.findings.iter();
        let of_it = findings.filter(|it| it["verdict"] == verdict);
        of_it
            .map(|it| it["check"].as_str().unwrap().to_owned())
            .collect()
    }

    /// That a check ended in this verdict, and that message or hint have these words.
    #[track_caller]
    pub(crate) fn assert(&self, check: &str, verdict: &str, words: &str) {
        let findings = self.all(check);
        let is_so = |finding: &&Value| {
            let mut texts = ["message", "hint"].into_iter();
            let says = |key: &str| finding[key].as_str().is_some_and(|it| it.contains(words));
            finding["verdict"] == verdict && texts.any(says)
        };
        assert!(
            findings.iter().any(is_so),
            "{check} is not {verdict} with {words:?}: {:#?}",
            self.findings
        );
    }
}
