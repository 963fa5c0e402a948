import Glibc
import Synchronization

/// Counts the heap allocations of this whole process, those of C libraries included.
///
/// Linking this module replaces `malloc` and its kin by wrappers round glibc's own functions: the
/// package manifest gives the linker `--defsym=malloc=counted_malloc` and so on, since Swift lets
/// no function of its own be called `malloc`.
public enum AllocationCounter {
  /// Counts the allocations that happen, in any thread, while a body runs.
  ///
  /// - Parameter body: What is measured.
  /// - Returns: The number of calls of `malloc`, `calloc`, `realloc` and the aligned variants.
  /// - Throws: What the body throws.
  public static func count(_ body: () throws -> Void) rethrows -> Int {
    let before = allocationCount.load(ordering: .sequentiallyConsistent)
    try body()
    return allocationCount.load(ordering: .sequentiallyConsistent) - before
  }
}

// The wrappers are public: the dynamic linker ignores a hidden `malloc`. The counter is
// atomic not only for other threads: the optimizer takes it for granted that making an object
// leaves ordinary variables alone, and would read a plain counter once for both ends of `count`.
private let allocationCount = Atomic<Int>(0)

@_silgen_name("__libc_malloc") private func libcMalloc(_ size: Int) -> UnsafeMutableRawPointer?
@_silgen_name("__libc_calloc") private func libcCalloc(
  _ count: Int, _ size: Int
) -> UnsafeMutableRawPointer?
@_silgen_name("__libc_realloc") private func libcRealloc(
  _ old: UnsafeMutableRawPointer?, _ size: Int
) -> UnsafeMutableRawPointer?
@_silgen_name("__libc_memalign") private func libcMemalign(
  _ alignment: Int, _ size: Int
) -> UnsafeMutableRawPointer?

/// Counts and allocates.
@_cdecl("counted_malloc") public func countedMalloc(_ size: Int) -> UnsafeMutableRawPointer? {
  allocationCount.wrappingAdd(1, ordering: .relaxed)
  return libcMalloc(size)
}

/// Counts and allocates zeroed memory.
@_cdecl("counted_calloc") public func countedCalloc(_ count: Int, _ size: Int)
  -> UnsafeMutableRawPointer?
{
  allocationCount.wrappingAdd(1, ordering: .relaxed)
  return libcCalloc(count, size)
}

/// Counts and resizes.
@_cdecl("counted_realloc") public func countedRealloc(
  _ old: UnsafeMutableRawPointer?, _ size: Int
) -> UnsafeMutableRawPointer? {
  allocationCount.wrappingAdd(1, ordering: .relaxed)
  return libcRealloc(old, size)
}

/// Counts and allocates aligned memory.
@_cdecl("counted_memalign") public func countedMemalign(
  _ alignment: Int, _ size: Int
) -> UnsafeMutableRawPointer? {
  allocationCount.wrappingAdd(1, ordering: .relaxed)
  return libcMemalign(alignment, size)
}

/// Counts and allocates aligned memory.
@_cdecl("counted_aligned_alloc") public func countedAlignedAlloc(
  _ alignment: Int, _ size: Int
) -> UnsafeMutableRawPointer? {
  allocationCount.wrappingAdd(1, ordering: .relaxed)
  return libcMemalign(alignment, size)
}

/// Counts and allocates aligned memory.
@_cdecl("counted_posix_memalign") public func countedPosixMemalign(
  _ result: UnsafeMutablePointer<UnsafeMutableRawPointer?>, _ alignment: Int, _ size: Int
) -> Int32 {
  allocationCount.wrappingAdd(1, ordering: .relaxed)
  guard let memory = libcMemalign(alignment, size) else { return ENOMEM }
  result.pointee = memory
  return 0
}
