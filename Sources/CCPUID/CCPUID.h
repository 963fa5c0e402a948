// The instructions that report what a CPU and its operating system support. Swift cannot spell them.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

// The answer registers of one CPUID leaf.
typedef struct {
  uint32_t eax, ebx, ecx, edx;
} CCPUID_Leaf;

// Returns a CPUID leaf, zeros if the CPU does not have it.
static inline CCPUID_Leaf CCPUID_leaf(uint32_t leaf, uint32_t subleaf) {
  CCPUID_Leaf answer = {0, 0, 0, 0};
  __get_cpuid_count(leaf, subleaf, &answer.eax, &answer.ebx, &answer.ecx, &answer.edx);
  return answer;
}

// Returns XCR0: the register states that the operating system saves. Faults unless CPUID reports OSXSAVE.
static inline uint64_t CCPUID_xcr0(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}
#endif
