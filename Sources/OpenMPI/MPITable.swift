import Collectives

/// A table of byte counts and offsets in the form MPI wants, kept and refilled for every exchange.
final class MPITable {
  /// One byte count a rank.
  let counts: UnsafeMutablePointer<Int32>
  /// Where each rank's bytes begin.
  let offsets: UnsafeMutablePointer<Int32>
  private let rankCount: Int

  init(rankCount: Int) {
    self.rankCount = rankCount
    counts = .allocate(capacity: rankCount)
    offsets = .allocate(capacity: rankCount)
    counts.initialize(repeating: 0, count: rankCount)
    offsets.initialize(repeating: 0, count: rankCount)
  }

  deinit {
    counts.deallocate()
    offsets.deallocate()
  }

  /// Converts a table of byte counts.
  ///
  /// - Parameters:
  ///   - byteCounts: One count a rank.
  ///   - exchange: The exchange's name, for the error.
  ///   - rank: The calling rank, for the error.
  /// - Throws: ``CommunicationError`` if the sum exceeds 2^31 − 1, which MPI 3 cannot count.
  func fill(_ byteCounts: [Int], for exchange: StaticString, rank: Int) throws {
    var offset = 0
    for rank in 0..<rankCount {
      offsets[rank] = Int32(truncatingIfNeeded: offset)
      counts[rank] = Int32(truncatingIfNeeded: byteCounts[rank])
      offset += byteCounts[rank]
    }
    guard offset <= Int(Int32.max) else {
      throw CommunicationError(
        "Rank \(rank) would move \(offset) bytes in one \(exchange), but MPI counts at most "
          + "\(Int32.max): exchange in smaller pieces.")
    }
  }
}
