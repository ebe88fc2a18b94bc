//! The pubsub endpoint: events go out in the order in which they are given.
//!
//! Who subscribed, and who is too slow, is the transport's business; nobody here waits.

use bytes::Bytes;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::event::Event;
use circus_protocol::transport::{Aside, BindError, Publisher};

/// The bound endpoint.
#[derive(Debug)]
pub struct Events {
    publisher: Publisher,
}

impl Events {
    /// Binds the endpoint.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, BindError> {
        let publisher = Publisher::bind(std::slice::from_ref(endpoint), super::limits()).await?;
        Ok(Self { publisher })
    }

    /// What is really bound: a port 0 has become a number.
    #[must_use]
    pub fn bound(&self) -> Option<&Endpoint> {
        self.publisher.endpoints().first()
    }

    /// Publishes an event; nothing is made of it when nobody wants it.
    pub fn publish(&self, event: &Event) {
        let topic = event.topic();
        if self.publisher.has_subscriber(topic.as_bytes()) {
            self.publisher.publish(vec![Bytes::from(topic), Bytes::from(event.payload())]);
        }
    }

    /// Where output goes that somebody wants to see at once: behind all events.
    #[must_use]
    pub fn aside(&self, kind: &'static [u8]) -> Aside {
        self.publisher.aside(kind)
    }

    /// Stops listening; events on their way leave first, for a limited time.
    pub async fn close(self) {
        self.publisher.close().await;
    }
}
