//! Small programs on the protocol library, each in one file: [`call.rs`], [`listen.rs`], and a client
//! that needs only the codec, [`zeromq_client.rs`]. This library itself is empty.
//!
//! [`call.rs`]: https://github.com/circusd-rs/circusd-rs/blob/main/examples/call.rs
//! [`listen.rs`]: https://github.com/circusd-rs/circusd-rs/blob/main/examples/listen.rs
//! [`zeromq_client.rs`]: https://github.com/circusd-rs/circusd-rs/blob/main/examples/zeromq_client.rs
