//! What of the program itself stays in memory.
//!
//! Most of a daemon's code runs once, at its start: reading options and files, resolving addresses, linking
//! the program itself. The pages stay mapped, and count as the daemon's, for as long as it lives. They are
//! in the files that they came from, so the daemon lets go of all of them when it has come to rest: those
//! that it still needs come back at the next step, from the page cache.
//!
//! Only what can never be written is let go; what the linker has changed is in other segments. It knows
//! nobody who runs.

use std::ffi::{c_int, c_void};

/// Let go of the program's pages and those of its libraries. Takes some tens of microseconds.
pub(crate) fn let_go() {
    // SAFETY: the function is called for each object that is loaded, while none can be unloaded, and keeps
    // nothing of what it is shown.
    unsafe { libc::dl_iterate_phdr(Some(each), std::ptr::null_mut()) };
}

unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|page| usize::try_from(page).ok()).unwrap_or(4096);
    // SAFETY: the C library hands out a valid description, and as many headers as it says.
    let (base, headers) = unsafe {
        let info = &*info;
        let count = usize::from(info.dlpi_phnum);
        let headers =
            if info.dlpi_phdr.is_null() { &[] } else { std::slice::from_raw_parts(info.dlpi_phdr, count) };
        (info.dlpi_addr, headers)
    };
    for header in
        headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0)
    {
        let (Ok(start), Ok(length)) =
            (usize::try_from(base.wrapping_add(header.p_vaddr)), usize::try_from(header.p_memsz))
        else {
            continue;
        };
        // Whole pages of this segment only.
        let (from, to) = (start.next_multiple_of(page), (start + length) / page * page);
        if from < to {
            // SAFETY: the range lies in a segment that is mapped from a file and never written, so what is
            // read there afterwards is what was read before.
            unsafe { libc::madvise(std::ptr::without_provenance_mut(from), to - from, libc::MADV_DONTNEED) };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident pages that come from files.
    fn mapped() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn what_was_let_go_comes_back_when_it_is_needed() {
        let before = mapped();
        let_go();
        let after = mapped();
        assert!(after < before, "{before} {after}");
        // Everything works as before.
        let sorted: std::collections::BTreeSet<String> = (0..100).map(|n| format!("{n:03}")).collect();
        assert_eq!(sorted.last().unwrap(), "099");
        assert!("127.0.0.1:80".parse::<std::net::SocketAddr>().is_ok());
    }
}
