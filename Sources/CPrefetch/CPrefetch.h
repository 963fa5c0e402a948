// Prefetch hints, which Swift has no spelling for. A hint never faults, whatever the address.
#pragma once

// Asks for the cache line of an address in the second-level cache, for reading.
static inline void CPrefetch_read(const void *address) { __builtin_prefetch(address, 0, 2); }

// Asks for the cache line of an address in the second-level cache, for writing.
static inline void CPrefetch_write(const void *address) { __builtin_prefetch(address, 1, 2); }
