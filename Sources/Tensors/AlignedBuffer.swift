/// A zero-initialised, 64-byte aligned block of memory that lives as long as its owner.
///
/// Everything that a training step touches is one of these, allocated before the first step: the step itself
/// allocates nothing. 64 bytes is a cache line and the widest vector register of x86-64.
///
/// The pointer is shared freely between the worker threads of one rank; whoever hands out work makes sure that no two
/// threads write the same elements. That is why the type is `@unchecked Sendable`.
public final class AlignedBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
  /// The number of elements.
  public let count: Int
  /// The first element, 64-byte aligned.
  public let pointer: UnsafeMutablePointer<Element>

  /// Allocates `count` elements, all of whose bytes are zero.
  ///
  /// - Precondition: `count` is not negative.
  public init(count: Int) {
    precondition(count >= 0, "a buffer has no negative size")
    self.count = count
    let byteCount = count * MemoryLayout<Element>.stride
    let raw = UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 64), alignment: 64)
    raw.initializeMemory(as: UInt8.self, repeating: 0, count: max(byteCount, 64))
    pointer = raw.assumingMemoryBound(to: Element.self)
  }

  deinit { UnsafeMutableRawPointer(pointer).deallocate() }

  /// The size of the elements in bytes.
  public var byteCount: Int { count * MemoryLayout<Element>.stride }

  /// All elements as a mutable collection.
  public var elements: UnsafeMutableBufferPointer<Element> {
    UnsafeMutableBufferPointer(start: pointer, count: count)
  }

  /// All bytes.
  public var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(elements) }
}
