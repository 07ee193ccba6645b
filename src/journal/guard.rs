//! Calls of redb, over bytes that may be damaged.
//!
//! redb may panic over them, and a bad card must not end the program: the panic becomes
//! [`Fault::Damaged`]. But it may panic again while it unwinds (a commit that is dropped goes on with
//! what it was doing), and that ends the process, as every panic does in a program that does not
//! unwind. The next start would open the same bytes, and end the same way. So a hook, which runs at
//! the first panic and before anything unwinds, leaves a mark in the data directory
//! ([`super::damage`]); a call that outlives its panic withdraws it.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind},
    path::Path,
    sync::{Arc, Once},
    thread,
};

use super::{
    damage::{self, Mark},
    error::Fault,
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where the journal lies that this thread is at.
    static DIR: RefCell<Option<Arc<Path>>> = const { RefCell::new(None) };
    /// What the hook has left there.
    static MARK: RefCell<Option<Mark>> = const { RefCell::new(None) };
}

/// Runs what calls redb. What is half done when it panics is dropped, and read again from the medium.
pub(super) fn guarded<T, E: From<Fault>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(act));
    GUARDED.set(before);
    if let Ok(Some(mark)) = MARK.try_with(RefCell::take) {
        mark.withdraw();
    }
    outcome.unwrap_or_else(|panic| {
        let said = panic_text(&*panic);
        Err(Fault::Damaged(format!("it makes no sense to redb ({said})")).into())
    })
}

/// As [`guarded`], on the journal in this directory; none where it is in none.
pub(super) fn guarded_in<T, E: From<Fault>>(
    dir: Option<&Arc<Path>>,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    in_dir(dir, || guarded(act))
}

/// Whatever is guarded in here is at the journal in this directory.
pub(super) fn in_dir<T>(dir: Option<&Arc<Path>>, act: impl FnOnce() -> T) -> T {
    struct Back(Option<Arc<Path>>);
    impl Drop for Back {
        fn drop(&mut self) {
            let _ = DIR.try_with(|slot| slot.replace(self.0.take()));
        }
    }
    let Some(dir) = dir else { return act() };
    set_hook();
    let before = DIR.try_with(|slot| slot.replace(Some(Arc::clone(dir))));
    let _back = Back(before.ok().flatten());
    act()
}

/// Runs what is not redb's: a panic in it is no word on the journal.
pub(crate) fn unguarded<T>(act: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            GUARDED.set(self.0);
        }
    }
    let _back = Back(GUARDED.replace(false));
    act()
}

/// Before the hooks that are there, which go on as they did.
fn set_hook() {
    static ONCE: Once = Once::new();
    // A thread that panics may not, and the next one will.
    if ONCE.is_completed() || thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            leave_mark(panic);
            others(panic);
        }));
    });
}

/// Nothing in here may panic: that would end the process without a word.
fn leave_mark(panic: &PanicHookInfo<'_>) {
    let is_guarded = GUARDED.try_with(Cell::get).unwrap_or(false);
    let dir = DIR.try_with(|slot| slot.try_borrow().ok().and_then(|dir| dir.clone()));
    let Ok(Some(dir)) = dir else { return };
    if !is_guarded {
        return;
    }
    let _ = MARK.try_with(|slot| {
        // The second panic of two adds nothing.
        if let Ok(mut mark) = slot.try_borrow_mut()
            && mark.is_none()
        {
            let said = panic_text(panic.payload());
            *mark = damage::mark(&dir, &said);
        }
    });
}

/// Whether a panic of this thread would become an error, and need not be printed.
#[cfg(any(feature = "cli", test))]
pub(crate) fn is_guarded() -> bool {
    GUARDED.get()
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}
