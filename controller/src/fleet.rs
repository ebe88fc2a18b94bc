//! Drives the pure [`crate::cluster`] with the [`crate::link`]s: what every face holds.

use std::path::Path;

use circus_protocol::service::Services;

use crate::inventory::Inventory;
use crate::outcome::{Operation, Outcome, Progress, RunOptions};

/// `--services FILE`: the description of the services for nodes that have none of their own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServicesFile {
    /// The file, as the user named it.
    pub path: String,
    /// What it says.
    pub services: Services,
    /// Each template's path as written there, and its text.
    pub templates: Vec<(String, String)>,
}

impl ServicesFile {
    /// Reads the file and every template it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, one line each.
    pub fn load(path: &Path) -> Result<Self, Vec<String>> {
        Err(vec![format!("{}: service files cannot be read yet", path.display())])
    }
}

/// All nodes and the connections to them; connections are opened when needed and stay open.
#[derive(Debug)]
pub struct Fleet {
    inventory: Inventory,
    services: Option<ServicesFile>,
}

impl Fleet {
    /// Connects to nobody yet.
    #[must_use]
    pub fn new(inventory: Inventory, services: Option<ServicesFile>) -> Self {
        Self { inventory, services }
    }

    /// The nodes.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Other nodes from now on; connections to nodes that are in both stay open.
    pub fn replace_inventory(&mut self, inventory: Inventory) {
        self.inventory = inventory;
    }

    /// Runs one operation on all targeted nodes at once. Never fails as a whole: each targeted node
    /// has exactly one outcome. Dropping the future abandons the operation.
    pub async fn run(
        &mut self,
        operation: Operation,
        options: &RunOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Outcome {
        let _ = (operation, options, progress, &self.services);
        Outcome::default()
    }
}
