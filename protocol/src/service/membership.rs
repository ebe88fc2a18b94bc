//! A node's place in its cluster, as a controller tells it. What a remote peer says here ends up in
//! paths, so an address may hold nothing that means something in one.

use std::collections::HashSet;

/// What `configure` is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// 1-based position of this node.
    pub identifier: u32,
    /// This node's own address, one of `cluster`.
    pub address: String,
    /// All addresses.
    pub cluster: Vec<String>,
    /// Whether it may become the master.
    pub is_master: bool,
    /// This host's name.
    pub hostname: String,
    /// The first start after a full reset.
    pub fresh: bool,
    /// It joins a cluster that holds data.
    pub joining: bool,
    /// Further variables for templates; never for paths.
    pub variables: Vec<(String, String)>,
}

/// The longest address; a DNS name has at most 253 characters.
const MAX_ADDRESS: usize = 253;

/// Why a membership is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Identifiers count from 1.
    #[error("identifier 0: identifiers count from 1")]
    Identifier,
    /// Not a host name or IP address.
    #[error("address {0:?} is neither a host name nor an IP address")]
    Address(String),
    /// The node is not in its own cluster.
    #[error("address {0:?} is not in the cluster {1:?}")]
    NotMember(String, Vec<String>),
    /// An address is there twice.
    #[error("address {0:?} is in the cluster twice")]
    Duplicate(String),
    /// A variable with a name that no template can spell.
    #[error("variable {0:?}: a name has letters, digits and underscores, no digit first")]
    VariableName(String),
    /// A variable that would replace who the node is.
    #[error("variable {0:?} is built in; its value follows from the membership")]
    VariableBuiltIn(String),
}

impl Membership {
    /// Checks everything a peer could get wrong.
    ///
    /// # Errors
    /// All faults, not only the first.
    pub fn check(&self) -> Result<(), Vec<MembershipError>> {
        let mut errors = Vec::new();
        if self.identifier == 0 {
            errors.push(MembershipError::Identifier);
        }
        let mut seen = HashSet::new();
        for address in &self.cluster {
            if !is_address(address) {
                errors.push(MembershipError::Address(address.clone()));
            }
            if !seen.insert(address) {
                errors.push(MembershipError::Duplicate(address.clone()));
            }
        }
        if !seen.contains(&self.address) {
            errors.push(MembershipError::NotMember(self.address.clone(), self.cluster.clone()));
        }
        for (name, _) in &self.variables {
            if !is_name(name) {
                errors.push(MembershipError::VariableName(name.clone()));
            } else if super::variables::is_identity(name) {
                errors.push(MembershipError::VariableBuiltIn(name.clone()));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// A name that `$name` in a template can mean.
pub(super) fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// A host name, IPv4 or IPv6 address: no blanks, which break Neo4j's member list, and no `/` or
/// leading dot, which would let a peer choose a path.
fn is_address(address: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || ".-_:%[]".contains(c);
    !address.is_empty()
        && address.len() <= MAX_ADDRESS
        && address.chars().all(good)
        && !address.starts_with(['.', '-', '%'])
        && !address.contains("..")
}
