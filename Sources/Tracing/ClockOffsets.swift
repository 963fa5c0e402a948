/// How the monotonic clocks of the ranks' hosts relate.
public enum ClockOffsets {
  /// Derives each rank's offset from when it left common barriers.
  ///
  /// Ranks of one host, recognised by its boot, read one clock. Between hosts the offset is the median over the barriers of the
  /// difference in leaving them, which is good to about the time that a message takes.
  ///
  /// - Parameters:
  ///   - times: For each rank, when it left each of the barriers, in nanoseconds of its clock.
  ///   - boots: For each rank, what identifies the boot of its host's kernel.
  /// - Returns: What must be subtracted from each rank's times to get rank 0's.
  public static func relativeToRank0(times: [[UInt64]], boots: [String]) -> [Int64] {
    guard let first = times.first else { return [] }
    var known: [String: Int64] = [:]
    return times.indices.map { rank in
      if rank == 0 || boots[rank] == boots[0] { return 0 }
      if let offset = known[boots[rank]] { return offset }
      let differences = zip(times[rank], first).map { Int64(bitPattern: $0 &- $1) }.sorted()
      let median = differences.isEmpty ? 0 : differences[differences.count / 2]
      known[boots[rank]] = median
      return median
    }
  }
}
