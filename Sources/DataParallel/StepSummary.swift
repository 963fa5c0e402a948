import Collectives
import Tensors

/// What ranks tell each other at the end of a step: the squares of their slices of the gradient, and a wish to stop.
///
/// Squares are added in Double within chunks of fixed size, then over chunks in order, so the norm has the same bits for
/// every number of ranks and every size of bucket.
public final class StepSummary {
  private let communicator: any Communicator
  private let tag: Int
  private let messages: any RequestSet
  private let chunks: [[Range<Int>]]
  private let squares: AlignedBuffer<Double>
  private let sent: AlignedBuffer<Double>
  private let received: [AlignedBuffer<Double>]

  /// Plans the exchange; every rank must plan the same.
  ///
  /// - Parameters:
  ///   - exchange: Whose slices the ranks own.
  ///   - communicator: The ranks.
  ///   - tag: What the messages carry.
  public init(_ exchange: GradientReducer, communicator: any Communicator, tag: Int = 3) {
    self.communicator = communicator
    self.tag = tag
    let worldSize = communicator.worldSize
    messages = communicator.makeRequestSet(capacity: 2 * (worldSize - 1))
    squares = AlignedBuffer(count: exchange.plan.chunkCount)
    let length = BucketPlan.chunkLength
    chunks = (0..<worldSize).map { rank in
      exchange.shards.map { $0[rank] }.filter { !$0.isEmpty }.map { shard in
        shard.lowerBound / length..<(shard.upperBound + length - 1) / length
      }
    }
    let counts = chunks.map { 1 + $0.reduce(0) { $0 + $1.count } }
    sent = AlignedBuffer(count: counts[communicator.rank])
    received = counts.indices.map { rank in
      AlignedBuffer(count: rank == communicator.rank ? 0 : counts[rank])
    }
  }

  /// Adds up the squares of some elements of this rank's slices.
  ///
  /// Several threads may call it for disjoint elements.
  ///
  /// - Parameters:
  ///   - elements: Whole chunks, the last one of the gradient possibly short.
  ///   - gradient: The flat gradient.
  public func addSquares(_ elements: Range<Int>, of gradient: UnsafePointer<Float>) {
    let length = BucketPlan.chunkLength
    for first in stride(from: elements.lowerBound, to: elements.upperBound, by: length) {
      // Four sums side by side, since one alone would wait for itself: the order is fixed all the same.
      var sums = SIMD4<Double>()
      let end = min(first + length, elements.upperBound)
      var i = first
      while i + 4 <= end {
        let values = SIMD4<Double>(
          SIMD4(gradient[i], gradient[i + 1], gradient[i + 2], gradient[i + 3]))
        sums += values * values
        i += 4
      }
      while i < end {
        sums[0] += Double(gradient[i]) * Double(gradient[i])
        i += 1
      }
      squares.pointer[first / length] = (sums[0] + sums[1]) + (sums[2] + sums[3])
    }
  }

  /// Starts to tell the other ranks; ``finish()`` follows.
  ///
  /// Every rank calls it once a step, after ``addSquares(_:of:)`` for all of its shards.
  ///
  /// - Parameter stopRequested: Whether this rank was asked to stop.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func start(stopRequested: Bool) throws {
    sent.pointer[0] = stopRequested ? 1 : 0
    copy(chunks[communicator.rank], to: sent.pointer + 1)
    let rank = communicator.rank
    for other in 0..<communicator.worldSize where other != rank {
      try messages.receive(
        into: received[other].pointer, count: received[other].count, from: other, tag: tag)
    }
    for other in 0..<communicator.worldSize where other != rank {
      try messages.send(sent.pointer, count: sent.count, to: other, tag: tag)
    }
  }

  /// Waits for what the other ranks tell.
  ///
  /// - Returns: The sum of the squares of the whole gradient, and whether any rank was asked to stop; the same on every
  ///   rank.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func finish() throws -> (squareSum: Double, stopRequested: Bool) {
    try communicator.wait(for: messages)
    var stopRequested = sent.pointer[0] != 0
    for other in 0..<communicator.worldSize where other != communicator.rank {
      let message = received[other].pointer
      if message[0] != 0 { stopRequested = true }
      var source = message + 1
      for range in chunks[other] {
        (squares.pointer + range.lowerBound).update(from: source, count: range.count)
        source += range.count
      }
    }
    return (squares.elements.reduce(0, +), stopRequested)
  }

  private func copy(_ ranges: [Range<Int>], to target: UnsafeMutablePointer<Double>) {
    var target = target
    for range in ranges {
      target.update(from: squares.pointer + range.lowerBound, count: range.count)
      target += range.count
    }
  }
}
