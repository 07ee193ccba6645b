//! What the builds for other machines are told, in each of the places that tell it.

#![cfg(feature = "cli")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;

/// `.cargo/config.toml`, as far as it may go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cargo {
    target: BTreeMap<String, CargoTarget>,
    env: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CargoTarget {
    linker: String,
    /// What makes its program smaller.
    #[serde(default)]
    rustflags: Vec<String>,
}

/// `cross.toml`, as far as it may go. `cross` only warns of a key that it does not know.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cross {
    target: BTreeMap<String, CrossTarget>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CrossTarget {
    image: String,
    pre_build: Vec<String>,
}

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn cargo() -> Cargo {
    toml::from_str(&text(".cargo/config.toml")).unwrap()
}

/// The packages in which Debian has a compiler: the one with its name, and the libraries it links.
fn packages(compiler: &str) -> Vec<String> {
    match compiler {
        "x86_64-linux-gnu-gcc" => vec!["gcc".into(), "libc6-dev".into()],
        "aarch64-linux-gnu-gcc" => vec![
            "gcc-aarch64-linux-gnu".into(),
            "libc6-dev-arm64-cross".into(),
        ],
        "arm-linux-gnueabihf-gcc" => vec![
            "gcc-arm-linux-gnueabihf".into(),
            "libc6-dev-armhf-cross".into(),
        ],
        _ => panic!("no package is known for {compiler}"),
    }
}

/// In which variable `.cargo/config.toml` names the C compiler of a target.
fn variable(target: &str) -> String {
    format!("CC_{}", target.replace('-', "_"))
}

#[test]
fn c_is_compiled_by_debians_compiler_for_each_target_which_links_or_rust_does() {
    let cargo = cargo();
    assert_eq!(cargo.env.len(), cargo.target.len());
    for (name, target) in &cargo.target {
        let compiler = &cargo.env[&variable(name)];
        assert!(!packages(compiler).is_empty(), "{name}");
        // Every toolchain of rustup's has `rust-lld`: nothing is to be installed for it.
        assert!(
            [compiler.as_str(), "rust-lld"].contains(&target.linker.as_str()),
            "{name}"
        );
    }
}

#[test]
fn cross_builds_the_same_targets_with_the_same_compilers() {
    let cargo = cargo();
    let cross: Cross = toml::from_str(&text("cross.toml")).unwrap();
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(cargo.target.keys().collect()),
        names(cross.target.keys().collect())
    );
    for (name, target) in &cross.target {
        assert_eq!(target.image, "docker.io/library/debian:bookworm", "{name}");
        let (last, before) = target.pre_build.split_last().unwrap();
        assert_eq!(before, ["apt-get update"], "{name}");
        let installed: BTreeSet<_> = last
            .strip_prefix("apt-get install --assume-yes --no-install-recommends ")
            .expect(last)
            .split(' ')
            .map(str::to_owned)
            .collect();
        // Build scripts and procedural macros are made for the machine that builds.
        let mut needed: BTreeSet<_> = ["gcc".to_owned(), "libc6-dev".to_owned()].into();
        needed.extend(packages(&cargo.env[&variable(name)]));
        assert_eq!(installed, needed, "{name}");
        // Another linker would have to be installed, too.
        let mut flags = cargo.target[name].rustflags.iter();
        assert!(
            flags.all(|flag| !flag.contains("linker=") && !flag.contains("fuse-ld")),
            "{name}"
        );
    }
}

#[test]
fn the_script_and_the_document_name_each_target_and_its_packages() {
    for path in ["tests/arm", "docs/arm.md"] {
        let text = text(path);
        let cargo = cargo();
        for name in cargo.target.keys() {
            assert!(text.contains(name), "{path} does not name {name}");
            for package in packages(&cargo.env[&variable(name)]) {
                assert!(text.contains(&package), "{path} does not name {package}");
            }
        }
    }
}
