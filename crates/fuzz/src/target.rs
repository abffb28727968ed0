//! The list of targets.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::{amqp_headers, config, database_url, edgex, envelope, spool, topics};

/// Something that reads bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called at the command line.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

/// All there are.
pub const TARGETS: [Target; 7] = [
    Target { name: "envelope", run: envelope::run, seeds: envelope::seeds },
    Target { name: "amqp_headers", run: amqp_headers::run, seeds: amqp_headers::seeds },
    Target { name: "edgex", run: edgex::run, seeds: edgex::seeds },
    Target { name: "topics", run: topics::run, seeds: topics::seeds },
    Target { name: "config", run: config::run, seeds: config::seeds },
    Target { name: "database_url", run: database_url::run, seeds: database_url::seeds },
    Target { name: "spool", run: spool::run, seeds: spool::seeds },
];

impl Target {
    /// The target of that name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Inputs to start from, and those that once broke a promise.
    pub fn inputs(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut inputs = (self.seeds)();
        if let Ok(cases) = fs::read_dir(self.cases()) {
            for case in cases {
                inputs.push(fs::read(case?.path())?);
            }
        }
        Ok(inputs)
    }

    /// Writes the inputs into a folder, a file each.
    pub fn write_inputs(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for (number, input) in self.inputs()?.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), input)?;
        }
        Ok(())
    }

    fn cases(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seeds as they are, cut short, and with one byte changed, so that targets themselves are tried.
    #[test]
    fn no_seed_and_no_case_breaks_a_promise() {
        for target in TARGETS {
            let inputs = target.inputs().unwrap();
            assert!(inputs.len() > 2, "{} has too few seeds", target.name);
            for input in inputs {
                (target.run)(&input);
                if input.len() > 4_096 {
                    continue;
                }
                for place in (0..input.len()).step_by(input.len() / 8 + 1) {
                    (target.run)(&input[..place]);
                    let mut changed = input.clone();
                    changed[place] ^= 0x15;
                    (target.run)(&changed);
                }
            }
        }
    }
}
