//! The locks of a storage that lies over another.

/// The methods of [`redb::StorageBackend`] that lock, for one that leaves them to another.
macro_rules! forward_locks {
    ($self:ident, $inner:expr) => {
        fn try_lock_range(
            &$self,
            start: ::std::ops::Bound<u64>,
            end: ::std::ops::Bound<u64>,
        ) -> Result<bool, ::redb::BackendError> {
            $inner.try_lock_range(start, end)
        }

        fn try_lock_shared_range(
            &$self,
            start: ::std::ops::Bound<u64>,
            end: ::std::ops::Bound<u64>,
        ) -> Result<bool, ::redb::BackendError> {
            $inner.try_lock_shared_range(start, end)
        }

        fn lock_range(
            &$self,
            start: ::std::ops::Bound<u64>,
            end: ::std::ops::Bound<u64>,
        ) -> Result<(), ::redb::BackendError> {
            $inner.lock_range(start, end)
        }

        fn lock_shared_range(
            &$self,
            start: ::std::ops::Bound<u64>,
            end: ::std::ops::Bound<u64>,
        ) -> Result<(), ::redb::BackendError> {
            $inner.lock_shared_range(start, end)
        }

        fn unlock_range(
            &$self,
            start: ::std::ops::Bound<u64>,
            end: ::std::ops::Bound<u64>,
        ) -> Result<(), ::redb::BackendError> {
            $inner.unlock_range(start, end)
        }

        fn query_lock_range(
            &$self,
            start: ::std::ops::Bound<u64>,
            end: ::std::ops::Bound<u64>,
        ) -> Result<bool, ::redb::BackendError> {
            $inner.query_lock_range(start, end)
        }
    };
}

pub(in crate::journal) use forward_locks;
