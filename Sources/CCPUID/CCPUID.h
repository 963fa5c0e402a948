// What the compiler's runtime knows about this CPU and operating system; its builtins do not import into Swift.
#pragma once

#if defined(__x86_64__)
// Whether AVX2 and FMA, the instructions of x86-64-v3, can be used. Every CPU with these has the smaller rest of the level.
static inline int CCPUID_supportsAVX2(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
      && __builtin_cpu_supports("bmi2");
}

// Whether the instructions of x86-64-v4 can be used.
static inline int CCPUID_supportsAVX512(void) {
  return CCPUID_supportsAVX2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
      && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
      && __builtin_cpu_supports("avx512vl");
}
#endif
