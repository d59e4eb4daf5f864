//! The completion scripts. That of circusctl asks the program itself, so it knows the watchers of the moment; the
//! others have options only.

use super::manual;
use clap_complete::Shell;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

/// The scripts by the file names under which the shells look for them.
pub(super) fn scripts() -> Vec<(String, Vec<u8>)> {
    let shells: [(Shell, &dyn EnvCompleter); 3] =
        [(Shell::Bash, &Bash), (Shell::Zsh, &Zsh), (Shell::Fish, &Fish)];
    let mut scripts = Vec::new();
    for mut tree in manual::all().into_iter().map(|manual| manual.tree) {
        let name = tree.get_name().to_owned();
        for (shell, dynamic) in shells {
            let mut text = Vec::new();
            if name == "circusctl" {
                // Writing to a Vec cannot fail.
                let _ = dynamic.write_registration("COMPLETE", &name, &name, &name, &mut text);
            } else {
                clap_complete::generate(shell, &mut tree, &name, &mut text);
            }
            scripts.push((file(shell, &name), text));
        }
    }
    scripts
}

fn file(shell: Shell, program: &str) -> String {
    match shell {
        Shell::Zsh => format!("_{program}"),
        Shell::Fish => format!("{program}.fish"),
        _ => format!("{program}.bash"),
    }
}
