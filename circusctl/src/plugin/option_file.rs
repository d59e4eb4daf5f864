//! Options for a plugin from a file: the section of an ini file, or lines of `key = value` without one.
//!
//! For `--config FILE`, so that a plugin can be tried with the file that circusd reads. Values are taken as
//! they stand; includes and `$(circus.env.NAME)` are circusd's business.

use std::collections::BTreeMap;

/// The options for the plugin of this dotted name: those of its `[plugin:NAME]`, with `name` as circusd would
/// give it; if the file has no section at all, all of its lines.
///
/// # Errors
/// No section of the file names the plugin.
pub fn options(text: &str, class: &str) -> Result<BTreeMap<String, String>, String> {
    let sections = sections(text);
    if let [(None, values)] = sections.as_slice() {
        return Ok(values.clone());
    }
    let of_plugin = |(name, values): &(Option<String>, BTreeMap<String, String>)| {
        let name = name.as_ref().filter(|name| name.starts_with("plugin:"))?;
        let mut values = values.clone();
        (values.remove("use")? == class).then(|| {
            values.insert("name".to_owned(), name.clone());
            values
        })
    };
    sections
        .iter()
        .find_map(of_plugin)
        .ok_or_else(|| format!("has no [plugin:NAME] with `use = {class}`"))
}

type Section = (Option<String>, BTreeMap<String, String>);

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = vec![(None, BTreeMap::new())];
    let mut last_key: Option<String> = None;
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            sections.push((Some(name.trim().to_owned()), BTreeMap::new()));
            last_key = None;
            continue;
        }
        let Some((_, values)) = sections.last_mut() else { continue };
        if line.starts_with([' ', '\t']) {
            let going_on = last_key.as_ref().and_then(|key| values.get_mut(key));
            if let Some(value) = going_on {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(['=', ':']) {
            let key = key.trim().to_owned();
            let value = value.split(" ;").next().unwrap_or_default().trim().to_owned();
            values.insert(key.clone(), value);
            last_key = Some(key);
        }
    }
    if sections.len() > 1 && sections[0].1.is_empty() {
        sections.remove(0);
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_that_names_the_plugin_is_taken_and_lines_without_one_too() {
        let ini = "[circus]\nx = 1\n[plugin:a]\nuse = a.A\nrate = 1\n\
                   [plugin:b]\nuse = b.B\nrate = 2 ; twice\n# no\nlong = 1\n  2\nempty =\n";
        let values = options(ini, "b.B").expect("found");
        let values: Vec<_> = values.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(values, [("empty", ""), ("long", "1\n2"), ("name", "plugin:b"), ("rate", "2")]);
        let error = options(ini, "c.C").expect_err("not there");
        assert_eq!(error, "has no [plugin:NAME] with `use = c.C`");
        assert_eq!(options("host = h\nport: 1\n", "x").expect("lines").len(), 2);
        assert!(options("", "x").expect("nothing").is_empty());
    }
}
