//! How much memory that was freed the daemon keeps.
//!
//! The C library keeps a heap for each thread, and once a large block has been freed it keeps blocks of
//! that size for ever: one message of 20 MB would cost 20 MB until the end. A supervisor lives for years
//! beside what it supervises, so it gives back.
//!
//! It allocates nothing itself and knows nobody who does.

/// Blocks of this size and above are the kernel's, and go back to it when they are freed.
#[cfg(target_env = "gnu")]
const OWN_BLOCK: libc::c_int = 128 * 1024;

/// Set before there are threads. A refusal costs memory and nothing else.
#[cfg(target_env = "gnu")]
pub(crate) fn be_frugal() {
    for (option, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, OWN_BLOCK), (libc::M_TRIM_THRESHOLD, OWN_BLOCK)]
    {
        // SAFETY: sets a number of the allocator; nobody else runs yet.
        unsafe { libc::mallopt(option, value) };
    }
}

/// Other C libraries have no such habits.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn be_frugal() {}

/// Give back what is free now, wherever it lies. Takes a moment for each MiB.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    // SAFETY: the allocator's own call, which locks what it needs; free memory has no users.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries keep little.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
