import Glibc
import Support

/// A zero-initialized, 64-byte aligned block of memory, freed with its last reference.
///
/// All memory of a training step is allocated in such buffers before the first step; a step allocates nothing. 64 bytes
/// is a cache line and the widest vector register of x86-64. Large buffers are mapped directly from Linux, aligned to
/// 2 MiB and marked for huge pages: with 4 KiB pages, address translation takes 3–6 % of a step.
///
/// The type is `@unchecked Sendable` because the worker threads of a rank share its pointer. The caller must ensure
/// that no two threads write the same element.
public final class AlignedBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
  /// The number of elements.
  public let count: Int
  /// The address of the first element, 64-byte aligned.
  public let pointer: UnsafeMutablePointer<Element>
  private let pages: HugePages?

  /// Allocates `count` elements, all of whose bytes are zero.
  ///
  /// - Precondition: `count` is not negative. The process ends if the memory cannot be allocated.
  public init(count: Int) {
    precondition(count >= 0, "a buffer's element count must not be negative")
    self.count = count
    let byteCount = max(count * MemoryLayout<Element>.stride, 64)
    pages = byteCount >= HugePages.minimumByteCount ? HugePages(byteCount: byteCount) : nil
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

  /// The bytes of all elements.
  public var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(elements) }
}

/// Zeroed memory mapped from Linux, aligned to 2 MiB and a multiple of 2 MiB long.
private struct HugePages {
  /// The size of a huge page on x86-64 and on most 64-bit ARM.
  private static let pageSize = 2 << 20
  /// The smallest size worth a mapping: a smaller buffer would leave more than half of a huge page unused.
  static let minimumByteCount = 1 << 20

  let start: UnsafeMutableRawPointer
  private let byteCount: Int

  /// Maps whole huge pages, or returns `nil` if Linux refuses.
  init?(byteCount: Int) {
    self.byteCount = byteCount.dividedRoundingUp(by: Self.pageSize) * Self.pageSize
    let mapped = mmap(
      nil, self.byteCount + Self.pageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let mapped, mapped != MAP_FAILED else { return nil }
    // `mmap` aligns to 4 KiB only. One extra page is mapped, and both ends outside the aligned range are unmapped.
    let misalignment = Int(bitPattern: mapped) % Self.pageSize
    let before = misalignment == 0 ? 0 : Self.pageSize - misalignment
    if before > 0 { munmap(mapped, before) }
    start = mapped + before
    if before < Self.pageSize { munmap(start + self.byteCount, Self.pageSize - before) }
    // Advice only: the memory is usable without huge pages, so the result is ignored.
    madvise(start, self.byteCount, Int32(MADV_HUGEPAGE))
  }

  func release() { munmap(start, byteCount) }
}
