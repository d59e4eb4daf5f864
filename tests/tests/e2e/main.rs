//! The programs together, as a user meets them.
#![expect(clippy::expect_used, reason = "a test fails loudly")]

mod background;
mod bad_input;
mod built_in_plugins;
mod command_reloader;
mod commands;
mod completion;
mod ctl_golden;
mod ending;
mod exactly_once;
mod examples;
mod extending;
mod harness;
mod hooks;
mod hosted;
mod http;
mod intent;
mod interop;
mod kernel;
mod life_cycle;
mod load;
mod log;
mod look_for_causes;
mod metrics;
mod migration;
mod observers;
mod output;
mod own_signals;
mod plugin_flapping;
mod plugin_statsd;
mod plugins;
mod python_arbiter;
mod python_clients;
mod python_hooks;
mod python_package;
mod python_plugins;
mod python_streams;
mod quickstart;
mod recorded_plugins;
mod recovery;
mod reload_config;
mod respawn;
mod service_manager;
mod shell;
mod soak;
mod sockets;
mod spawning;
mod ssh;
mod start_errors;
mod stats;
mod streams;
mod top;
mod upgrade;
mod watchdog;
mod web_servers;
mod workers;

#[test]
fn every_file_here_is_part_of_the_test() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let own = std::fs::read_to_string(folder.join("main.rs")).expect("this file");
    for entry in std::fs::read_dir(folder).expect("this folder") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        let module = name.strip_suffix(".rs").expect("only Rust files");
        let listed = module == "main" || own.contains(&format!("\nmod {module};\n"));
        assert!(listed, "{name} is not listed in main.rs");
    }
}
