//! libFuzzer before one target of `postroad-fuzz`, which the environment names.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;
use std::{env, panic};

use libfuzzer_sys::fuzz_target;
use postroad_fuzz::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: begin(), |input: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(input);
    }
});

/// Whose panics are caught by us.
const CAUGHT: [&str; 2] = ["/fjall-", "/lsm-tree-"];

/// Finds the target, and writes what to begin with into the folder that the environment names.
fn begin() {
    let name = env::var("POSTROAD_FUZZ_TARGET").expect("POSTROAD_FUZZ_TARGET names a target");
    let target = Target::named(&name).unwrap_or_else(|| panic!("there is no target `{name}`"));
    let folder = env::var_os("POSTROAD_FUZZ_SEEDS").expect("POSTROAD_FUZZ_SEEDS names a folder");
    target.write_inputs(Path::new(&folder)).expect("the folder can be written to");
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or("", |place| place.file());
        // One that is not caught ends the process all the same, at the edge of the C++ code.
        if !CAUGHT.iter().any(|library| place.contains(library)) {
            end(panic);
        }
    }));
    TARGET.get_or_init(|| target);
}
