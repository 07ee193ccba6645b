//! How far a command has come with its files, for whoever looks on at a terminal.
//!
//! Without the feature `progress` there is nothing to see, and the rest is the same.

#[cfg(feature = "progress")]
use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal, and only there.
pub(super) struct Progress {
    #[cfg(feature = "progress")]
    bar: ProgressBar,
}

impl Progress {
    /// In bytes, where all of it is files; hidden otherwise.
    #[cfg(feature = "progress")]
    pub(super) fn through(files: &[String]) -> Self {
        let sizes = files.iter().map(|path| {
            let found = std::fs::metadata(path).ok()?;
            found.is_file().then_some(found.len())
        });
        let Some(total) = sizes.sum::<Option<u64>>() else {
            return Self {
                bar: ProgressBar::hidden(),
            };
        };
        let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            bar: ProgressBar::new(total).with_style(style),
        }
    }

    /// So many bytes more are done.
    #[cfg(feature = "progress")]
    pub(super) fn advance(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// It is over, and leaves the terminal as it was.
    #[cfg(feature = "progress")]
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }

    #[cfg(not(feature = "progress"))]
    pub(super) const fn through(_: &[String]) -> Self {
        Self {}
    }

    #[cfg(not(feature = "progress"))]
    pub(super) const fn advance(&self, _: usize) {}

    #[cfg(not(feature = "progress"))]
    pub(super) const fn end(self) {}
}
