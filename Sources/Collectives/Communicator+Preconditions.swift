extension Communicator {
  /// Traps unless the arguments of an all-gather fit this rank.
  ///
  /// For implementations of ``Communicator``: every one of them starts its `allGather` with this
  /// check, so that a wrong table is found with one rank and in tests, not first on a cluster.
  ///
  /// - Parameters:
  ///   - sendByteCount: The length of the send buffer.
  ///   - receiveByteCount: The length of the receive buffer.
  ///   - counts: Every rank's byte count.
  public func checkAllGather(sendByteCount: Int, receiveByteCount: Int, counts: [Int]) {
    precondition(counts.count == worldSize, "allGather needs one count for every rank")
    precondition(sendByteCount == counts[rank], "allGather must send what its own count says")
    precondition(
      receiveByteCount == sum(counts), "allGather's receive buffer must hold the sum of the counts")
  }

  /// Traps unless the arguments of an all-to-all fit this rank.
  ///
  /// - Parameters:
  ///   - sendByteCount: The length of the send buffer.
  ///   - sendCounts: The byte counts of the pieces sent.
  ///   - receiveByteCount: The length of the receive buffer.
  ///   - receiveCounts: The byte counts of the pieces received.
  public func checkAllToAll(
    sendByteCount: Int, sendCounts: [Int], receiveByteCount: Int, receiveCounts: [Int]
  ) {
    precondition(
      sendCounts.count == worldSize && receiveCounts.count == worldSize,
      "allToAll needs one send count and one receive count for every rank")
    precondition(
      sendByteCount == sum(sendCounts), "allToAll's send buffer must hold the sum of the counts")
    precondition(
      receiveByteCount == sum(receiveCounts),
      "allToAll's receive buffer must hold the sum of the counts")
    precondition(
      sendCounts[rank] == receiveCounts[rank], "allToAll must receive from itself what it sends")
  }

  private func sum(_ counts: [Int]) -> Int {
    var total = 0
    for count in counts {
      precondition(count >= 0, "a byte count cannot be negative")
      total += count
    }
    return total
  }
}
