extension Communicator {
  /// Gives every rank the texts of all ranks; texts may have different lengths.
  ///
  /// Collective: every rank calls it. For the start and the end of a run: it allocates.
  ///
  /// - Parameter text: This rank's text.
  /// - Returns: All texts, in rank order.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func allGather(_ text: String) throws -> [String] {
    let bytes = Array(text.utf8)
    var length = UInt64(bytes.count)
    var lengths = [UInt64](repeating: 0, count: worldSize)
    try withUnsafeBytes(of: &length) { mine in
      try lengths.withUnsafeMutableBytes {
        try allGather(mine, into: $0, counts: [Int](repeating: mine.count, count: worldSize))
      }
    }
    let counts = lengths.map { Int($0) }
    var all = [UInt8](repeating: 0, count: counts.reduce(0, +))
    try bytes.withUnsafeBytes { mine in
      try all.withUnsafeMutableBytes { try allGather(mine, into: $0, counts: counts) }
    }
    var start = 0
    return counts.map { count in
      defer { start += count }
      return String(decoding: all[start..<start + count], as: UTF8.self)
    }
  }
}
