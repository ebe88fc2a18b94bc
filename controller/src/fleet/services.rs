//! Reads `--services FILE` and the templates it names.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use circus_protocol::ini::Ini;
use circus_protocol::service::{MAX_RENDERED, Membership, Services, template_paths};

use crate::cluster::plan::ServicesFile;

impl ServicesFile {
    /// Reads the file. The templates it names are read before each `configure`.
    ///
    /// # Errors
    /// Everything that is wrong with it, one line each.
    pub fn load(path: &Path) -> Result<Self, Vec<String>> {
        let shown = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| vec![format!("{shown}: {error}")])?;
        let ini = Ini::parse_bytes(&bytes, &shown)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let absolute = std::path::absolute(path).map_err(|error| vec![format!("{shown}: {error}")])?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        let services = Services::from_ini_of_all_nodes(&ini, base)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        if services.services.is_empty() {
            return Err(vec![format!("{shown}: no [service:NAME] section in it")]);
        }
        Ok(Self { path: shown, services, templates: HashMap::new() })
    }

    /// The same with the text of every template that one of these members needs.
    #[must_use]
    pub(super) fn with_templates(&self, memberships: &[Membership]) -> Self {
        let mut templates = HashMap::new();
        for membership in memberships {
            // What is wrong with a membership or a path is said when the files are rendered.
            for (_, _, path) in template_paths(&self.services, membership, None, &[]).unwrap_or_default() {
                let name = path.to_string_lossy().into_owned();
                templates.entry(name).or_insert_with(|| read(&path));
            }
        }
        Self { path: self.path.clone(), services: self.services.clone(), templates }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("not a regular file".to_owned());
    }
    let limit = u64::try_from(MAX_RENDERED).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_RENDERED {
        return Err(format!("more than {MAX_RENDERED} bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))
}
