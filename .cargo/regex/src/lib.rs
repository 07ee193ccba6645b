//! `regex-lite` under the name of `regex`: the same interface and syntax, without Unicode's tables and
//! without the automata that make long searches fast.
//!
//! async-nats depends on `regex` without a choice, and asks it for the parts of a server's version and
//! of a credentials file: half a megabyte of program for lines of ASCII. What is different is that
//! `\w`, `\d` and `\s` mean those of ASCII alone, which is what a credentials file is made of.

pub use regex_lite::*;
