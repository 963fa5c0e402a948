import Collectives
import Support
import Tensors

/// The exchange at the end of a step: the squared gradient norm, whether any rank has a stop request or numbers that are
/// not finite, and further words.
///
/// Squares are added in double precision within chunks of fixed size, then over chunks in order. The norm is therefore
/// bitwise independent of the number of ranks and of the bucket size.
public final class StepSummary {
  private let communicator: any Communicator
  private let tag: Int
  private let requests: any RequestSet
  private let wordCount: Int
  private let chunks: [[Range<Int>]]
  private let squares: AlignedBuffer<Double>
  private let sent: AlignedBuffer<Double>
  private let received: [AlignedBuffer<Double>]
  /// Whether the last step's numbers were finite on every rank, as far as they know; after ``finish()``.
  public private(set) var isFinite = true

  /// Plans the exchange and allocates its buffers; does not communicate.
  ///
  /// Every rank must pass equal arguments.
  ///
  /// - Parameters:
  ///   - reducer: The reducer whose shards the ranks own.
  ///   - communicator: The ranks.
  ///   - wordCount: The number of further words of 64 bits.
  ///   - tag: The tag of the messages.
  public init(_ reducer: GradientReducer, communicator: any Communicator, wordCount: Int = 0, tag: Int = 3) {
    self.communicator = communicator
    self.wordCount = wordCount
    self.tag = tag
    let worldSize = communicator.worldSize
    requests = communicator.makeRequestSet(capacity: 2 * (worldSize - 1))
    squares = AlignedBuffer(count: reducer.plan.chunkCount)
    let length = BucketPlan.chunkLength
    chunks = (0..<worldSize).map { rank in
      reducer.shards.map { $0[rank] }.filter { !$0.isEmpty }.map { shard in
        shard.lowerBound / length..<shard.upperBound.dividedRoundingUp(by: length)
      }
    }
    let counts = chunks.map { 1 + wordCount + $0.reduce(0) { $0 + $1.count } }
    sent = AlignedBuffer(count: counts[communicator.rank])
    received = counts.indices.map { rank in
      AlignedBuffer(count: rank == communicator.rank ? 0 : counts[rank])
    }
  }

  /// This rank's words, to be written before ``start(stopRequested:isFinite:)``.
  public var words: UnsafeMutablePointer<UInt64> {
    UnsafeMutableRawPointer(sent.pointer + 1).assumingMemoryBound(to: UInt64.self)
  }

  /// Returns the words of a rank, after ``finish()``.
  public func words(of rank: Int) -> UnsafePointer<UInt64> {
    let message = rank == communicator.rank ? sent : received[rank]
    return UnsafeRawPointer(message.pointer + 1).assumingMemoryBound(to: UInt64.self)
  }

  /// Sums the squares of some elements of this rank's shards.
  ///
  /// Several threads may call it for disjoint elements.
  ///
  /// - Parameters:
  ///   - elements: Whole chunks; the last chunk of the gradient may be shorter.
  ///   - gradient: The flat gradient.
  public func addSquares(_ elements: Range<Int>, of gradient: UnsafePointer<Float>) {
    let length = BucketPlan.chunkLength
    for first in stride(from: elements.lowerBound, to: elements.upperBound, by: length) {
      // Four independent sums hide the latency of an addition. Their order is fixed.
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

  /// Collective: starts to send this rank's squares and stop request to the other ranks; ``finish()`` follows.
  ///
  /// Call it once per step, after ``addSquares(_:of:)`` for all of the rank's shards. Does not block.
  ///
  /// - Parameters:
  ///   - stopRequested: Whether this rank has a stop request.
  ///   - isFinite: Whether this rank's loss and batch statistics are finite.
  /// - Throws: `CommunicationError` if communication fails.
  public func start(stopRequested: Bool, isFinite: Bool = true) throws {
    sent.pointer[0] = Double((stopRequested ? Self.stopFlag : 0) | (isFinite ? 0 : Self.nonfiniteFlag))
    copy(chunks[communicator.rank], to: sent.pointer + 1 + wordCount)
    let rank = communicator.rank
    for other in 0..<communicator.worldSize where other != rank {
      try requests.receive(
        into: received[other].pointer, count: received[other].count, from: other, tag: tag)
    }
    for other in 0..<communicator.worldSize where other != rank {
      try requests.send(sent.pointer, count: sent.count, to: other, tag: tag)
    }
  }

  /// Collective: blocks until the messages of all other ranks have arrived.
  ///
  /// - Returns: The sum of the squares of the whole gradient, and whether any rank has a stop request; bitwise identical on
  ///   every rank.
  /// - Throws: `CommunicationError` if communication fails.
  public func finish() throws -> (squareSum: Double, stopRequested: Bool) {
    try communicator.wait(for: requests)
    var flags = Int(sent.pointer[0])
    for other in 0..<communicator.worldSize where other != communicator.rank {
      let message = received[other].pointer
      flags |= Int(message[0])
      var source = message + 1 + wordCount
      for range in chunks[other] {
        (squares.pointer + range.lowerBound).update(from: source, count: range.count)
        source += range.count
      }
    }
    isFinite = flags & Self.nonfiniteFlag == 0
    return (squares.elements.reduce(0, +), flags & Self.stopFlag != 0)
  }

  private static let stopFlag = 1
  private static let nonfiniteFlag = 2

  private func copy(_ ranges: [Range<Int>], to target: UnsafeMutablePointer<Double>) {
    var target = target
    for range in ranges {
      target.update(from: squares.pointer + range.lowerBound, count: range.count)
      target += range.count
    }
  }
}
