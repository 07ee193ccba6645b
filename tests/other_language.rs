//! A verifier in another language, written from `docs/envelope.md` alone, agrees with this one.

#[path = "support/python_verifier.rs"]
mod python_verifier;
#[path = "support/vectors.rs"]
mod vectors;

use edge_outbox::{
    envelope::{Chain, Envelope, Verifier},
    signing::PublicKey,
};

fn verifier_py(lines: &[&str], run: bool) -> Result<(), String> {
    python_verifier::verify(&vectors::groups()[0].key.public_key, lines, run)
}

/// The same in Rust.
fn verifier_rs(lines: &[&str], run: bool) -> Result<(), String> {
    let key: PublicKey = vectors::groups()[0].key.public_key.parse().unwrap();
    let mut verifier = Verifier::new();
    verifier.trust(key);
    let mut chain = Chain::new();
    for line in lines {
        let envelope = Envelope::parse(line.as_bytes()).map_err(|error| error.to_string())?;
        let envelope = verifier
            .verify(envelope)
            .map_err(|error| error.to_string())?;
        if run {
            chain.extend(&envelope).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn both_accept(lines: &[&str], run: bool) {
    assert_eq!(verifier_rs(lines, run), Ok(()));
    assert_eq!(verifier_py(lines, run), Ok(()));
}

/// Both refuse the lines, the other one naming this line.
fn both_refuse(lines: &[&str], run: bool, line: usize) {
    let last = lines[line - 1];
    assert!(verifier_rs(lines, run).is_err(), "accepted here: {last}");
    let complaint = verifier_py(lines, run).expect_err(last);
    assert!(
        complaint.starts_with(&format!("line {line}: ")),
        "{complaint}"
    );
}

/// The frozen envelopes in order, each in one line.
fn lines() -> Vec<String> {
    let events = vectors::groups().into_iter().flat_map(|group| group.events);
    events
        .map(|event| event.wire_one_line.unwrap_or(event.wire))
        .collect()
}

/// The value of a member, with what stands around it: `"signature":"…"`.
fn member<'a>(line: &'a str, name: &str, end: char) -> &'a str {
    let from = line.find(&format!("\"{name}\":")).unwrap();
    let opening = from + name.len() + 4;
    let to = opening + line[opening..].find(end).unwrap();
    &line[from..=to]
}

#[test]
fn the_frozen_envelopes_are_accepted_alone_and_as_a_run() {
    let lines = lines();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    both_accept(&lines, false);
    both_accept(&lines, true);
    both_accept(&lines[3..], true);
    let backwards: Vec<_> = lines.iter().rev().copied().collect();
    both_accept(&backwards, false);
    both_refuse(&backwards, true, 2);
}

#[test]
fn erased_and_repeated_envelopes_are_accepted_in_a_run() {
    let lines = lines();
    type Form = fn(&vectors::Event) -> Option<&String>;
    let forms: [Form; 2] = [|e| e.wire_erased.as_ref(), |e| e.wire_redelivered.as_ref()];
    for form in forms {
        let groups = vectors::groups();
        let five = groups[1].events.iter().map(|event| form(event).unwrap());
        let run: Vec<_> = lines[..1].iter().chain(five).map(String::as_str).collect();
        both_accept(&run, true);
    }
}

#[test]
fn a_missing_or_repeated_seq_in_a_run_is_refused() {
    let lines = lines();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    both_refuse(&[&lines[..4], &lines[5..]].concat(), true, 5);
    both_refuse(&[&lines[..4], &lines[3..]].concat(), true, 5);
}

#[test]
fn what_was_altered_is_refused() {
    let lines = lines();
    let quiz = lines[2].as_str();
    let (sibling, other) = (lines[3].as_str(), lines[7].as_str());
    let swap = |name, end| {
        let theirs = if name == "signature" { other } else { sibling };
        quiz.replace(member(quiz, name, end), member(theirs, name, end))
    };
    for changed in [
        // A payload byte, and each signed field.
        quiz.replace("\"score\":7", "\"score\":8"),
        quiz.replace("\"seq\":3", "\"seq\":4"),
        quiz.replace("kiosk-07", "kiosk-08"),
        quiz.replace("\"event_version\":1", "\"event_version\":2"),
        quiz.replace("quiz.submitted", "quiz.subm1tted"),
        quiz.replace("classroom-app", "classroom_app"),
        quiz.replace("\"sync\":\"yes\"", "\"sync\":\"no\""),
        swap("id", ','),
        swap("occurred_at", ','),
        swap("prev", ','),
        swap("private_digest", ','),
        // What proves it.
        swap("signature", ','),
        swap("path", ']'),
        swap("leaf", ','),
        quiz.replace("\"size\":5", "\"size\":6"),
        // The personal part.
        swap("aggregate_id", ','),
        swap("subject_id", ',').replace("3d9f", "4d9f"),
        swap("salt", ','),
        sibling[..sibling.find(",\"aggregate_id\"").unwrap()].to_owned()
            + &quiz[quiz.find(",\"aggregate_id\"").unwrap()..],
    ] {
        assert!(changed != quiz && changed != sibling, "nothing was changed");
        both_refuse(&[&lines[1], &changed], false, 2);
    }
}

#[test]
fn an_original_id_that_was_altered_or_is_spelled_in_another_way_is_refused() {
    let lines = lines();
    let (named, plain) = (lines[17].as_str(), lines[18].as_str());
    let quoted = lines[19].as_str();
    both_accept(&[named, plain, quoted], true);
    const ID: &str = "\"original_id\":\"order-7\",";
    for (line, from, to) in [
        (named, "order-7", "order-8"),
        (named, "order-7", ""),
        (named, "order-7", "order-\\u0037"),
        (named, "order-7", "order-7\t"),
        (named, "\"order-7\"", "null"),
        (named, ID, ""),
        (named, ID, &format!("{ID}{ID}")),
        (named, "\"device\":", &format!("{ID}\"device\":")),
        (plain, "\"device\":", &format!("{ID}\"device\":")),
        (plain, "\"source\":", &format!("{ID}\"source\":")),
        (plain, "{\"id\":", &format!("{{{ID}\"id\":")),
        (quoted, "No. \\\"", "No. \""),
        (quoted, "\\\\8", "\\8"),
        (quoted, "é", "\\u00e9"),
    ] {
        let changed = line.replacen(from, to, 1);
        assert_ne!(changed, line);
        both_refuse(&[&changed], false, 1);
    }
}

#[test]
fn a_second_spelling_is_refused() {
    let lines = lines();
    let quiz = lines[2].as_str();
    for (from, to) in [
        ("\"seq\":3", "\"seq\":3.0"),
        ("\"seq\":3", "\"seq\":3e0"),
        ("\"seq\":3", "\"seq\":3,\"seq\":3"),
        ("\"seq\":3", "\"seq\": 3"),
        ("\"seq\":3", "\"\\u0073eq\":3"),
        ("\"leaf\":1", "\"leaf\":true"),
        ("\"redelivered\":false", "\"redelivered\":0"),
        (
            "\"redelivered\":false",
            "\"redelivered\":false,\"version\":1",
        ),
        ("classroom", "cl\\u0061ssroom"),
        ("classroom", "cl\\ud800ssroom"),
        ("\"device\":\"kiosk-07\",", ""),
        ("07:03:00.000000Z", "07:02:60.000000Z"),
        ("07:03:00.000000Z", "07:03:00Z"),
        ("0195555d", "0195555D"),
        ("\"path\":[", "\"path\":{"),
        (
            "7,\"max_score\":10}",
            "7,\"max_score\":10},\"device\":\"kiosk-08\"",
        ),
    ] {
        let changed = quiz.replacen(from, to, 1);
        assert_ne!(changed, quiz);
        both_refuse(&[&changed], false, 1);
    }
    let digest = member(quiz, "prev", ',');
    // The two bits that stand for nothing, set.
    let tail = digest.strip_suffix("=\",").unwrap();
    let (head, last) = tail.split_at(tail.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    let changed = quiz.replace(digest, &format!("{head}{next}=\","));
    assert_ne!(changed, quiz);
    both_refuse(&[&changed], false, 1);
}
