//! What a package ships beside the programs is made by circusctl, and must be what it makes now.

use crate::support::circusctl;
use std::path::Path;

#[test]
fn the_files_in_deploy_are_fresh() {
    // Four programs: each has one page, and a script for each of three shells.
    for (what, count) in [("man", 4), ("completions", 12)] {
        let directory = tempfile::tempdir().expect("a directory");
        let status = circusctl().args(["generate", what]).arg(directory.path()).status();
        assert!(status.expect("circusctl runs").success());
        let entries = std::fs::read_dir(directory.path()).expect("readable");
        let names: Vec<_> = entries.map(|entry| entry.expect("readable").file_name()).collect();
        assert_eq!(names.len(), count);
        for name in names {
            let shipped =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(what).join(&name);
            let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
            assert!(
                read(&shipped) == read(&directory.path().join(&name)),
                "{} is stale: cargo run --bin circusctl -- generate {what} deploy/{what}",
                shipped.display()
            );
        }
    }
}

#[test]
fn the_man_page_tells_exit_codes_and_every_command() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/man/circusctl.1");
    let page = std::fs::read_to_string(page).expect("there");
    for part in [".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SS \"incr ", ".SS \"why ", "tail "] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("generate"), "hidden commands are for packagers");
}

#[test]
fn the_other_programs_have_pages_with_all_their_options() {
    for (program, parts) in [
        (
            "circus-top",
            &["\\-\\-ssh_keyfile", "\\-\\-once", ".SH KEYS", "turn the order round"][..],
        ),
        ("circus-plugin", &["\\-\\-check\\-delay", "PLUGIN", ".SH EXAMPLES"][..]),
        ("circusd-stats", &["\\-\\-statspoint", "\\-\\-interval", ".SH \"EXIT STATUS\""][..]),
    ] {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/man/{program}.1"));
        let page = std::fs::read_to_string(page).expect("there");
        for part in parts {
            assert!(page.contains(part), "{program}: {part}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let output = circusctl().args(["generate", "man", "/proc/nowhere"]).output();
    let output = output.expect("circusctl runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.starts_with(b"error: could not write /proc/nowhere\n"));
}
