extension Communicator {
  /// Collective: gathers one value of every rank into an existing array; allocates nothing.
  ///
  /// - Parameters:
  ///   - value: This rank's value, of a type without padding at its end.
  ///   - values: An array of `worldSize` elements, overwritten with all values in rank order.
  /// - Throws: ``CommunicationError`` if communication fails.
  public func allGather<Value: BitwiseCopyable>(_ value: Value, into values: inout [Value]) throws {
    precondition(values.count == worldSize, "allGather needs one element per rank")
    precondition(
      MemoryLayout<Value>.size == MemoryLayout<Value>.stride, "allGather needs a type without padding at its end")
    try withUnsafeBytes(of: value) { send in
      try values.withUnsafeMutableBytes { try allGather(send, into: $0) }
    }
  }

  /// Collective: gathers one value of every rank on every rank.
  ///
  /// - Parameter value: This rank's value, of a type without padding at its end.
  /// - Returns: All values, in rank order.
  /// - Throws: ``CommunicationError`` if communication fails.
  public func allGather<Value: BitwiseCopyable>(_ value: Value) throws -> [Value] {
    var values = [Value](repeating: value, count: worldSize)
    try allGather(value, into: &values)
    return values
  }

  /// Collective: gathers equally many values of every rank on every rank.
  ///
  /// - Parameter values: This rank's values; the same number on every rank.
  /// - Returns: The values of all ranks, concatenated in rank order.
  /// - Throws: ``CommunicationError`` if communication fails.
  public func allGather<Value: BitwiseCopyable>(_ values: [Value]) throws -> [Value] {
    try [Value](unsafeUninitializedCapacity: worldSize * values.count) { all, count in
      try values.withUnsafeBytes { try allGather($0, into: UnsafeMutableRawBufferPointer(all)) }
      count = all.count
    }
  }

  /// Collective: gathers one text of every rank on every rank; their lengths may differ.
  ///
  /// - Parameter text: This rank's text.
  /// - Returns: All texts, in rank order.
  /// - Throws: ``CommunicationError`` if communication fails.
  public func allGather(_ text: String) throws -> [String] {
    let bytes = Array(text.utf8)
    let counts = try allGather(bytes.count)
    var all = [UInt8](repeating: 0, count: counts.reduce(0, +))
    try bytes.withUnsafeBytes { send in
      try all.withUnsafeMutableBytes { try allGather(send, into: $0, counts: counts) }
    }
    var start = 0
    return counts.map { count in
      defer { start += count }
      return String(decoding: all[start..<start + count], as: UTF8.self)
    }
  }
}
