//! The completion scripts. They ask the program itself, so they know the watchers of the moment.

use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

/// The scripts by the file names under which the shells look for them.
pub(super) fn scripts() -> Vec<(&'static str, Vec<u8>)> {
    let shells: [(&str, &dyn EnvCompleter); 3] =
        [("circusctl.bash", &Bash), ("_circusctl", &Zsh), ("circusctl.fish", &Fish)];
    let script = |(file, shell): (&'static str, &dyn EnvCompleter)| {
        let mut text = Vec::new();
        // Writing to a Vec cannot fail.
        let _ =
            shell.write_registration("COMPLETE", "circusctl", "circusctl", "circusctl", &mut text);
        (file, text)
    };
    shells.into_iter().map(script).collect()
}
