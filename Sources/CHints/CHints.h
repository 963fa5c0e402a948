// Hints to the CPU, which Swift has no spelling for. None of them changes what a program computes.
#pragma once

// Asks for the cache line of an address in the second-level cache, for reading. Never faults, whatever the address.
static inline void CHints_prefetchForReading(const void *address) { __builtin_prefetch(address, 0, 2); }

// Asks for the cache line of an address in the second-level cache, for writing. Never faults, whatever the address.
static inline void CHints_prefetchForWriting(const void *address) { __builtin_prefetch(address, 1, 2); }

// Says that this thread is only waiting: the other thread of a core may run faster, and leaving the loop is cheaper.
static inline void CHints_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
