//! What must hold for any bytes. Also compiled into the workspace's tests, which feed it the seeds;
//! there this file is named by its path, so its parts are, too.

#[path = "checks/codec.rs"]
pub mod codec;
#[path = "checks/ini.rs"]
pub mod ini;
#[path = "checks/zmtp.rs"]
pub mod zmtp;
