/// Memory between sentinels, for tests of operations that must write nowhere else.
public final class GuardedBuffer<Element: BitwiseCopyable> {
  private static var margin: Int { 64 }
  private let memory: UnsafeMutableRawBufferPointer
  private let byteCount: Int
  /// The first element.
  public let pointer: UnsafeMutablePointer<Element>
  /// The number of elements.
  public let count: Int

  /// Creates a buffer with a copy of some elements.
  public init(_ elements: [Element]) {
    count = elements.count
    byteCount = count * MemoryLayout<Element>.stride
    memory = .allocate(byteCount: byteCount + 2 * Self.margin, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0xa5)
    guard let start = memory.baseAddress else { preconditionFailure("the margins are never empty") }
    pointer = (start + Self.margin).bindMemory(to: Element.self, capacity: max(count, 1))
    for (i, element) in elements.enumerated() { pointer[i] = element }
  }

  deinit { memory.deallocate() }

  /// A copy of the current elements.
  public var elements: [Element] { Array(UnsafeBufferPointer(start: pointer, count: count)) }

  /// Whether the sentinels before and after the elements are unchanged.
  public var isIntact: Bool {
    memory.prefix(Self.margin).allSatisfy { $0 == 0xa5 }
      && memory.dropFirst(Self.margin + byteCount).allSatisfy { $0 == 0xa5 }
  }
}
