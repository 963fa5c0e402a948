import Tensors

/// The endless order in which all ranks together use the training images: a pure function of seed and position.
///
/// Any rank can query any position, so the order is neither saved nor communicated. A batch may cross the end of an epoch.
///
/// Mode ``ShuffleMode/queue`` is Trax's input pipeline (`trax/data/inputs.py`). The training set, in one fixed random
/// order and repeated, passes through a queue of 1,024 slots. Each incoming image replaces the image of a random slot, and
/// the replaced image is emitted. The slot of position t is number t of a counter-based stream. The image emitted at t is
/// therefore the one that came in when the same slot was last selected, or the slot's first image. After a jump the queue
/// is rebuilt by going backward until every slot has been selected: about 8,000 numbers at any position.
///
/// Consecutive ranges are cheap and allocate nothing. A jump costs well under 1 ms in mode `queue` and one permutation in
/// mode `epoch`.
public final class Sampler {
  /// The number of slots of Trax's shuffle queue.
  static let queueSize = 1024

  /// The number of images.
  public let count: Int
  private let mode: ShuffleMode
  private let seed: UInt64
  private let slots: RandomStream
  private var permutation: [Int]
  private var permutationEpoch = -1
  private var queue: [Int]
  private var nextPosition = -1

  /// Creates the order of `count` images.
  ///
  /// - Precondition: `count` is positive.
  public init(mode: ShuffleMode, count: Int, seed: UInt64) {
    precondition(count > 0, "a sampler needs at least one image")
    self.mode = mode
    self.count = count
    self.seed = seed
    slots = RandomStream(seed: seed, purpose: "shuffle queue")
    permutation = Array(0..<count)
    queue = [Int](repeating: 0, count: mode == .queue ? Self.queueSize : 0)
  }

  /// Writes the indices of the images at a range of positions.
  ///
  /// - Parameters:
  ///   - positions: Positions in the endless order, from 0.
  ///   - indices: The destination, one record index per position; as long as `positions`.
  public func indices(at positions: Range<Int>, into indices: UnsafeMutableBufferPointer<Int>) {
    precondition(positions.lowerBound >= 0, "positions must not be negative")
    precondition(indices.count == positions.count, "the destination must be as long as the range of positions")
    switch mode {
    case .none:
      for (i, position) in positions.enumerated() { indices[i] = position % count }
    case .epoch:
      for (i, position) in positions.enumerated() {
        permute(epoch: position / count)
        indices[i] = permutation[position % count]
      }
    case .queue:
      permute(epoch: 0)
      if positions.lowerBound != nextPosition { rebuildQueue(before: positions.lowerBound) }
      for (i, position) in positions.enumerated() {
        let slot = slot(position)
        indices[i] = permutation[queue[slot] % count]
        queue[slot] = position + Self.queueSize
      }
      nextPosition = positions.upperBound
    }
  }

  /// Returns the random slot of a position.
  private func slot(_ position: Int) -> Int {
    slots.integer(UInt64(position), below: Self.queueSize)
  }

  /// Rebuilds the queue as it is just before `position`: per slot, the position at which its image came in.
  private func rebuildQueue(before position: Int) {
    for slot in queue.indices { queue[slot] = -1 }
    var missing = Self.queueSize
    var t = position - 1
    while t >= 0 && missing > 0 {
      let slot = slot(t)
      if queue[slot] < 0 {
        queue[slot] = t + Self.queueSize
        missing -= 1
      }
      t -= 1
    }
    for slot in queue.indices where queue[slot] < 0 { queue[slot] = slot }
  }

  /// Sets `permutation` to that of an epoch, by the shuffle of Fisher and Yates.
  private func permute(epoch: Int) {
    guard epoch != permutationEpoch else { return }
    let stream = RandomStream(seed: seed, purpose: "permutation", step: UInt64(epoch))
    for i in permutation.indices { permutation[i] = i }
    for i in stride(from: count - 1, to: 0, by: -1) {
      permutation.swapAt(i, stream.integer(UInt64(i), below: i + 1))
    }
    permutationEpoch = epoch
  }
}

/// The way in which training images are shuffled.
public enum ShuffleMode: String, Codable, CaseIterable, Sendable {
  /// Trax's: one fixed permutation, repeated, through a shuffle queue of 1,024 slots.
  case queue
  /// A new permutation per epoch.
  case epoch
  /// No shuffling: the order of the files.
  case none
}
