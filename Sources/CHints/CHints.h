// Hints to the CPU, which Swift cannot spell. None of them affects results.
#pragma once

// Prefetches the cache line of an address into the L2 cache, for reading. Never faults, whatever the address.
static inline void CHints_prefetchForReading(const void *address) { __builtin_prefetch(address, 0, 2); }

// Prefetches the cache line of an address into the L2 cache, for writing. Never faults, whatever the address.
static inline void CHints_prefetchForWriting(const void *address) { __builtin_prefetch(address, 1, 2); }

// Returns a counter of constant rate, the same on all cores: the time stamp counter, or the virtual count of AArch64.
static inline unsigned long long CHints_ticks(void) {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  unsigned long long ticks;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#else
  return 0;
#endif
}

// Reports that this thread spins: the core's other hardware thread may run faster, and leaving the loop is cheaper.
static inline void CHints_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
