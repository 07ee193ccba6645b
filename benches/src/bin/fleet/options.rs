//! What the command line says.

use std::path::PathBuf;

use crate::{
    broker::Kind,
    way::{WAYS, Way},
};

pub const HELP: &str = "\
A fleet of devices that comes back to one broker at the same moment, as tables in Markdown.

    cargo run --release --manifest-path benches/Cargo.toml --bin fleet [-- OPTIONS]

    --devices N,…      how many (1000); several, to see how it grows
    --events N         pending on each (200: a lesson of 28 pupils with seven answers each)
    --brokers NAME,…   nats, mosquitto, mosquitto-qos-1 (whose subscriber acknowledges each event);
                       the first two unless told
    --ways NAME,…      on-at-once, on, on-20, on-30s, on-30s-5, on-30s-16k, back, back-30s;
                       all unless told
    --dir PATH         where the journals are (the directory for temporary files). In memory, as in
                       /dev/shm, the devices do not share a disk, as they do not in a school either
    --plot PATH        a picture of how the ways `on` grow with the number of devices, as SVG
";

/// All of it.
pub struct Options {
    pub devices: Vec<usize>,
    /// Pending on each device.
    pub events: usize,
    pub brokers: Vec<Kind>,
    pub ways: Vec<&'static Way>,
    pub dir: PathBuf,
    pub plot: Option<PathBuf>,
}

impl Options {
    /// As the arguments say; `None` where they want nothing measured.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            devices: vec![1_000],
            events: 200,
            brokers: Kind::USUAL.to_vec(),
            ways: WAYS.iter().collect(),
            dir: std::env::temp_dir(),
            plot: None,
        };
        while let Some(argument) = arguments.next() {
            if argument == "--help" {
                return Ok(None);
            }
            let value = arguments.next();
            let value = value.ok_or_else(|| format!("{argument} needs a value"))?;
            match argument.as_str() {
                "--devices" => options.devices = each(&value, number)?,
                "--events" => options.events = number(&value)?,
                "--brokers" => {
                    let named = |name: &str| {
                        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
                        kind.ok_or_else(|| format!("no such broker: {name}"))
                    };
                    options.brokers = each(&value, named)?;
                }
                "--ways" => {
                    let named = |name: &str| {
                        let way = WAYS.iter().find(|way| way.name == name);
                        way.ok_or_else(|| format!("no such way: {name}"))
                    };
                    options.ways = each(&value, named)?;
                }
                "--dir" => options.dir = value.into(),
                "--plot" => options.plot = Some(value.into()),
                _ => return Err(format!("no such option: {argument}")),
            }
        }
        Ok(Some(options))
    }
}

fn each<T>(list: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    list.split(',').map(read).collect()
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text} is no number from 1 on")),
        Ok(number) => Ok(number),
    }
}
