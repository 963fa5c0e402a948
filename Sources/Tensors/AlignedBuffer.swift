import Glibc

/// A zero-initialised, 64-byte aligned block of memory that lives as long as its owner.
///
/// Everything that a training step touches is one of these, allocated before the first step: the step itself
/// allocates nothing. 64 bytes is a cache line and the widest vector register of x86-64. Large blocks come straight from
/// the kernel, aligned to 2 MiB and marked for huge pages where it has them: with pages of 4 KiB a step spent three to six
/// per cent of its time in address translation.
///
/// The pointer is shared freely between the worker threads of one rank; whoever hands out work makes sure that no two
/// threads write the same elements. That is why the type is `@unchecked Sendable`.
public final class AlignedBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
  /// The number of elements.
  public let count: Int
  /// The first element, 64-byte aligned.
  public let pointer: UnsafeMutablePointer<Element>
  private let pages: HugePages?

  /// Allocates `count` elements, all of whose bytes are zero.
  ///
  /// - Precondition: `count` is not negative, and the memory can be had.
  public init(count: Int) {
    precondition(count >= 0, "a buffer has no negative size")
    self.count = count
    let byteCount = max(count * MemoryLayout<Element>.stride, 64)
    pages = byteCount >= HugePages.worthwhile ? HugePages(byteCount: byteCount) : nil
    if let pages {
      pointer = pages.start.assumingMemoryBound(to: Element.self)
    } else {
      let raw = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
      raw.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
      pointer = raw.assumingMemoryBound(to: Element.self)
    }
  }

  deinit {
    if let pages { pages.release() } else { UnsafeMutableRawPointer(pointer).deallocate() }
  }

  /// The size of the elements in bytes.
  public var byteCount: Int { count * MemoryLayout<Element>.stride }

  /// All elements as a mutable collection.
  public var elements: UnsafeMutableBufferPointer<Element> {
    UnsafeMutableBufferPointer(start: pointer, count: count)
  }

  /// All bytes.
  public var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(elements) }
}

/// Zeroed memory of the kernel's, aligned to 2 MiB.
private struct HugePages {
  /// The size of a huge page on x86-64 and on most 64-bit ARM.
  private static let pageSize = 2 << 20
  /// Below half a page the rest of it would be a waste.
  static let worthwhile = 1 << 20

  let start: UnsafeMutableRawPointer
  private let byteCount: Int

  /// Maps whole pages; nil if the kernel refuses.
  init?(byteCount: Int) {
    self.byteCount = (byteCount + Self.pageSize - 1) / Self.pageSize * Self.pageSize
    let mapped = mmap(
      nil, self.byteCount + Self.pageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let mapped, mapped != MAP_FAILED else { return nil }
    // One page more was mapped, so that the rest can be cut off on both sides of a multiple of the page size.
    let before =
      Int(bitPattern: mapped) % Self.pageSize == 0 ? 0 : Self.pageSize - Int(bitPattern: mapped) % Self.pageSize
    if before > 0 { munmap(mapped, before) }
    start = mapped + before
    if before < Self.pageSize { munmap(start + self.byteCount, Self.pageSize - before) }
    // Advice only: without huge pages the memory works as well.
    madvise(start, self.byteCount, Int32(MADV_HUGEPAGE))
  }

  func release() { munmap(start, byteCount) }
}
