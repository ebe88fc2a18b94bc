//! A world for tests: files, groups, commands and names out of tables.

use core::net::IpAddr;

use super::{GroupsFile, Sources};

/// What there is.
#[derive(Debug)]
pub(crate) struct Fake {
    /// The groups file.
    pub(crate) groups: &'static str,
    /// Whether others can write it.
    pub(crate) trusted: bool,
    /// What was asked, in order.
    pub(crate) asked: Vec<String>,
}

impl Default for Fake {
    fn default() -> Self {
        Self { groups: GROUPS, trusted: true, asked: Vec::new() }
    }
}

const GROUPS: &str = "\
# the lab
some: node[01-02].lab
db: node[01-04].lab, -node03.lab   # one is broken
web: web[1-2]
 web9, web8
all: @db,@web
one: @two
two: x,
  @three
three: @one
up: exec:list --up, now
listed: @nodes
empty: a!a
typo: a..b
";

impl Sources for Fake {
    fn file(&mut self, path: &str) -> Result<String, String> {
        self.asked.push(format!("file {path}"));
        let text = match path {
            "nodes" | "/etc/my nodes" | "./db" => {
                "# the lab\n10.0.0.1\n 10.0.0.2:6000 # odd one\n\nnode[1-2]\n"
            }
            "less" => "10.0.0.1-4\n-10.0.0.2 -10.0.0.9\n",
            "bad" => "10.0.0.1\n10.0.0.300\n",
            "nest" => "a\n b, @nodes\n",
            "runs" => "exec:reboot\n",
            "empty" => "# nothing\n",
            _ => return Err("No such file or directory".to_owned()),
        };
        Ok(text.to_owned())
    }

    fn groups(&mut self) -> Result<Option<GroupsFile>, String> {
        let (path, text, trusted) = ("~/groups".to_owned(), self.groups.to_owned(), self.trusted);
        Ok(Some(GroupsFile { path, text, trusted }))
    }

    fn exec(&mut self, command: &str) -> Result<String, String> {
        self.asked.push(format!("exec {command}"));
        match command {
            "list" | "list --up" | "list --up, now" => Ok("a:6000\nb # spare\n".to_owned()),
            "evil" => Ok("a\nexec:reboot\n".to_owned()),
            _ => Err("ended with status 127: sh: not found".to_owned()),
        }
    }

    fn addresses(&mut self, name: &str, server: Option<&str>) -> Result<Vec<IpAddr>, String> {
        self.asked.push(format!("dns {name} {server:?}"));
        match name {
            "db.lab" => Ok(["10.1.0.1", "fd00::2"].iter().filter_map(|text| text.parse().ok()).collect()),
            _ => Err("no such name".to_owned()),
        }
    }

    fn services(&mut self, name: &str, server: Option<&str>) -> Result<Vec<(String, u16)>, String> {
        self.asked.push(format!("srv {name} {server:?}"));
        match name {
            "_circus._tcp.lab" => Ok(vec![("n1.lab".to_owned(), 5555), ("n2.lab".to_owned(), 5600)]),
            "_odd._tcp.lab" => Ok(vec![("a b".to_owned(), 1)]),
            _ => Err("no such name".to_owned()),
        }
    }
}
