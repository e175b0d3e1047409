//! The time stamp counter.

/// The processor's time stamp counter: a few nanoseconds to read, the same on all cores.
#[inline(always)]
pub fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and it reads nothing else.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads a register; has no precondition.
    return unsafe { dpdk_sys::natlb_tsc() };
}

/// Ticks of [`tsc`] in a second, as the EAL measured it; 0 before the EAL has started.
pub fn tsc_hz() -> u64 {
    // SAFETY: reads a variable that the EAL sets once, at its start.
    unsafe { dpdk_sys::rte_get_tsc_hz() }
}
