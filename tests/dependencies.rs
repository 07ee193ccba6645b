//! `deny.toml` is true to `Cargo.lock`: licences, bans and sources of everything that any feature brings
//! to the machine that the tests run on. `cargo deny` is not needed for that.

#![cfg(feature = "cli")]

use std::{collections::HashMap, fs, process::Command};

use serde_json::Value;

/// What is our own: the package, and what stands in for another in its builds.
const OURS: [&str; 2] = [env!("CARGO_PKG_NAME"), "regex"];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn rules() -> toml::Table {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// What is built of other people's, by the ids of cargo; and who names whom.
struct Tree {
    packages: HashMap<String, Value>,
    nodes: Vec<Value>,
}

impl Tree {
    fn of_every_feature() -> Self {
        let rustc = Command::new("rustc")
            .args(["--print", "host-tuple"])
            .output();
        let host = String::from_utf8(rustc.unwrap().stdout).unwrap();
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--locked",
                "--all-features",
                "--format-version=1",
            ])
            .args(["--filter-platform", host.trim()])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let nodes = metadata["resolve"]["nodes"].as_array().unwrap().clone();
        let packages = metadata["packages"].as_array().unwrap().iter();
        let packages = packages.map(|package| (text(&package["id"]), package.clone()));
        let tree = Self {
            packages: packages.collect(),
            nodes,
        };
        assert!(tree.nodes.len() > 200, "{}", tree.nodes.len());
        tree
    }

    /// Everything but what is our own, which has no source but this directory.
    fn foreign(&self) -> impl Iterator<Item = &Value> {
        let built = self
            .nodes
            .iter()
            .map(|node| &self.packages[&text(&node["id"])]);
        built.filter(|package| {
            let is_here = text(&package["manifest_path"]).starts_with(env!("CARGO_MANIFEST_DIR"));
            !(is_here
                && package["source"].is_null()
                && OURS.iter().any(|it| package["name"] == *it))
        })
    }

    /// Who depends on a package of this name.
    fn users_of(&self, name: &str) -> Vec<String> {
        let name_of = |id: &Value| text(&self.packages[&text(id)]["name"]);
        let uses = |node: &&Value| {
            let mut packages = node["dependencies"].as_array().unwrap().iter();
            packages.any(|id| name_of(id) == name)
        };
        let users = self.nodes.iter().filter(uses);
        users.map(|node| name_of(&node["id"])).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn words(value: Option<&toml::Value>) -> Vec<&str> {
    let words = value.map_or(&[][..], |list| list.as_array().unwrap());
    words.iter().map(|word| word.as_str().unwrap()).collect()
}

/// Whether a licence, in the language of SPDX, can be chosen so that all of it is allowed. `/` is the
/// old way to write OR.
fn is_allowed(licence: &str, allowed: &[&str]) -> bool {
    let spaced = licence
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let spaced = spaced.replace(" WITH ", "+");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (is_allowed, rest) = alternatives(&words, allowed);
    assert!(rest.is_empty(), "{licence:?} cannot be read");
    is_allowed
}

fn alternatives<'a>(words: &'a [&'a str], allowed: &[&str]) -> (bool, &'a [&'a str]) {
    let (mut any, mut rest) = together(words, allowed);
    while let ["OR", more @ ..] = rest {
        let (next, behind) = together(more, allowed);
        (any, rest) = (any || next, behind);
    }
    (any, rest)
}

fn together<'a>(words: &'a [&'a str], allowed: &[&str]) -> (bool, &'a [&'a str]) {
    let (mut all, mut rest) = one(words, allowed);
    while let ["AND", more @ ..] = rest {
        let (next, behind) = one(more, allowed);
        (all, rest) = (all && next, behind);
    }
    (all, rest)
}

fn one<'a>(words: &'a [&'a str], allowed: &[&str]) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => match alternatives(inner, allowed) {
            (is_allowed, [")", rest @ ..]) => (is_allowed, rest),
            (_, rest) => panic!("no bracket closes before {rest:?}"),
        },
        [name, rest @ ..] => (allowed.contains(name), rest),
        [] => panic!("a licence without a name"),
    }
}

#[test]
fn every_licence_is_among_those_allowed_and_none_is_allowed_in_vain() {
    let (rules, tree) = (rules(), Tree::of_every_feature());
    let allowed = words(rules["licenses"].get("allow"));
    let licences: Vec<(String, String)> = tree
        .foreign()
        .map(|package| (text(&package["name"]), text(&package["license"])))
        .collect();
    for (name, licence) in &licences {
        assert!(is_allowed(licence, &allowed), "{name}: {licence:?}");
    }
    for licence in &allowed {
        let fewer: Vec<&str> = allowed.iter().copied().filter(|it| it != licence).collect();
        assert!(
            licences.iter().any(|(_, found)| !is_allowed(found, &fewer)),
            "nothing needs {licence}"
        );
    }
    assert!(!is_allowed("GPL-3.0-only", &allowed) && !is_allowed("MIT AND GPL-2.0", &allowed));
    assert!(is_allowed("(GPL-2.0 OR MIT) AND ISC", &allowed));
}

#[test]
fn nobody_but_who_may_depends_on_what_is_banned() {
    let (rules, tree) = (rules(), Tree::of_every_feature());
    for ban in rules["bans"]["deny"].as_array().unwrap() {
        let name = ban["name"].as_str().unwrap();
        assert_eq!(tree.users_of(name), words(ban.get("wrappers")), "{name}");
    }
}

#[test]
fn everything_is_a_release_of_the_one_registry() {
    for package in Tree::of_every_feature().foreign() {
        assert_eq!(package["source"], CRATES_IO, "{}", package["name"]);
    }
}
