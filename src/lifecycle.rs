//! The order in which the parts of a process start and stop.
//!
//! A composition root in `cmd` pushes [`Component`]s; they are started in that order and stopped in
//! reverse. A component that fails to start stops those already running. Nothing here knows what a
//! component does.

use std::fmt::Display;

use async_trait::async_trait;

/// One long-running part of the process.
#[async_trait]
pub trait Component: Send {
    /// The name used in logs and in `--disable`.
    fn name(&self) -> &'static str;

    /// Returns when the part is ready to serve those that start after it.
    ///
    /// # Errors
    /// One line that says what is wrong and how to mend it.
    async fn start(&mut self) -> Result<(), StartError>;

    /// Stops and waits for the part's tasks. Must be callable after a failed start.
    async fn stop(&mut self);
}

/// Why a component did not start, in one line for the person at the terminal.
#[derive(Debug, thiserror::Error)]
#[error("{component}: {message}")]
pub struct StartError {
    pub component: &'static str,
    pub message: String,
}

impl StartError {
    pub fn new(component: &'static str, message: impl Display) -> Self {
        Self { component, message: message.to_string() }
    }
}

/// The running components, in the order they were started.
#[derive(Default)]
pub struct Lifecycle {
    running: Vec<Box<dyn Component>>,
}

impl Lifecycle {
    /// Starts one more component; on failure everything started before it is stopped.
    pub async fn start(&mut self, mut component: Box<dyn Component>) -> Result<(), StartError> {
        let begun = std::time::Instant::now();
        match component.start().await {
            Ok(()) => {
                tracing::info!(component = component.name(), elapsed = ?begun.elapsed(), "started");
                self.running.push(component);
                Ok(())
            }
            Err(error) => {
                component.stop().await;
                self.stop().await;
                Err(error)
            }
        }
    }

    /// Stops everything, last started first.
    pub async fn stop(&mut self) {
        while let Some(mut component) = self.running.pop() {
            component.stop().await;
            tracing::info!(component = component.name(), "stopped");
        }
    }
}
