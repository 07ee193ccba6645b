//! What the kernel tells of a process.

use std::{collections::HashMap, fs};

/// Memory of a process, in KiB.
pub struct Memory {
    /// Resident: with the program's pages, which are the file's and shared by all who run it.
    pub resident: u64,
    /// Resident at most so far.
    pub most: u64,
    /// Resident and no file's page: a system that is short of memory cannot drop it and read it again.
    pub anonymous: u64,
    /// Resident and its own: what would be free without it.
    pub private: u64,
}

impl Memory {
    pub fn of(pid: u32) -> Self {
        let status = read(&format!("/proc/{pid}/status"));
        let rollup = read(&format!("/proc/{pid}/smaps_rollup"));
        Self {
            resident: field(&status, "VmRSS:"),
            most: field(&status, "VmHWM:"),
            anonymous: field(&status, "RssAnon:") + field(&status, "RssShmem:"),
            private: field(&rollup, "Private_Clean:") + field(&rollup, "Private_Dirty:"),
        }
    }
}

/// Processor time that a process has used, in milliseconds: its own and the kernel's for it.
pub fn cpu_ms(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return f64::NAN;
    };
    // utime and stime, the 14th and 15th of all: the state, behind the name, is the third.
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    let ticks: f64 = ticks.map(|ticks| ticks.unwrap_or(f64::NAN)).sum();
    ticks * 1e3 / rustix::param::clock_ticks_per_second() as f64
}

/// Bytes that this process has handed to the system to be written so far.
pub fn written_bytes() -> u64 {
    field(&read("/proc/self/io"), "wchar:")
}

/// Attempts to connect that were refused so far, of all processes of this network: a connection's way
/// back from SYN-SENT (RFC 1213, section 6, `tcpAttemptFails`).
pub fn refused_attempts() -> u64 {
    let counters = read("/proc/net/snmp");
    let mut lines = counters.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let mut both = names.split(' ').zip(values.split(' '));
    let failed = both.find_map(|(name, value)| (name == "AttemptFails").then_some(value));
    failed.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Has the kernel forget what a process had at most in memory so far.
pub fn forget_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// How often each thread was switched away from: by itself, to wait, and by the kernel.
pub struct Switches(HashMap<String, (u64, u64)>);

impl Switches {
    pub fn of(pid: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
        let tasks = tasks.filter_map(|task| {
            let dir = task.ok()?.path();
            // A thread may end meanwhile.
            let status = fs::read_to_string(dir.join("status")).ok()?;
            let own = field(&status, "voluntary_ctxt_switches:");
            let forced = field(&status, "nonvoluntary_ctxt_switches:");
            let name = status.lines().next()?.trim_start_matches("Name:").trim();
            let tid = dir.file_name()?.to_str()?;
            Some((format!("{name} {tid}"), (own, forced)))
        });
        Self(tasks.collect())
    }

    pub fn threads(&self) -> usize {
        self.0.len()
    }

    /// Since then, over all threads: by itself, and by the kernel.
    pub fn since(&self, before: &Self) -> (u64, u64) {
        self.each_since(before)
            .into_iter()
            .fold((0, 0), |(own, forced), (_, (more, by_force))| {
                (own + more, forced + by_force)
            })
    }

    /// Since then, by thread.
    pub fn each_since(&self, before: &Self) -> Vec<(String, (u64, u64))> {
        let since = |(name, (own, forced)): (&String, &(u64, u64))| {
            let (then, by_force) = before.0.get(name).copied().unwrap_or_default();
            (name.clone(), (own - then, forced - by_force))
        };
        let mut each: Vec<_> = self.0.iter().map(since).collect();
        each.sort();
        each
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).expect("it runs")
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value
        .and_then(|n| n.parse().ok())
        .expect("the kernel tells")
}
