import Tensors

/// The endless order in which training images are used, over all ranks: a pure function of seed and position.
///
/// Any rank can ask for any position, so nothing about it needs to be saved or sent. Batches run on over the end of an epoch.
///
/// Mode ``ShuffleMode/queue`` is Trax's input pipeline (trax/data/inputs.py): the training set in one fixed order, over and over,
/// passes through a queue of 1,024 slots; for each incoming image a slot is drawn, the image in it is emitted, and the new one takes its
/// place. Slot draws are numbers of a counter-based stream, so the image emitted at position t is the one that came in when the
/// slot drawn at t was drawn the last time before, or the slot's first image. The contents of the whole queue are rebuilt by
/// looking back until every slot has been seen, some 8,000 draws whatever the position.
///
/// Consecutive ranges are cheap and allocate nothing; a jump costs well under a millisecond in mode `queue` and one permutation in mode
/// `epoch`.
public final class Sampler {
  /// Slots of Trax's shuffle queue.
  static let queueSize = 1024

  private let mode: ShuffleMode
  private let count: Int
  private let seed: UInt64
  private let slots: RandomStream
  private var permutation: [Int]
  private var permutationEpoch = -1
  private var queue: [Int]
  private var nextPosition = -1

  /// Makes the order of `count` images.
  ///
  /// - Precondition: `count` is positive.
  public init(mode: ShuffleMode, count: Int, seed: UInt64) {
    precondition(count > 0, "a sequence needs at least one image")
    self.mode = mode
    self.count = count
    self.seed = seed
    slots = RandomStream(seed: seed, purpose: "shuffle queue")
    permutation = Array(0..<count)
    queue = [Int](repeating: 0, count: mode == .queue ? Self.queueSize : 0)
  }

  /// Writes the images at some positions of the order.
  ///
  /// - Parameters:
  ///   - positions: Positions in the endless order, from 0.
  ///   - indices: Receives one record number a position; as long as `positions`.
  public func indices(at positions: Range<Int>, into indices: UnsafeMutableBufferPointer<Int>) {
    precondition(positions.lowerBound >= 0, "positions begin at 0")
    precondition(indices.count == positions.count, "there must be room for exactly the positions")
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

  /// The slot drawn at a position.
  private func slot(_ position: Int) -> Int {
    slots.integer(UInt64(position), below: Self.queueSize)
  }

  /// Finds what each slot holds just before `position`: stream positions of incoming images.
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

  /// Makes `permutation` that of an epoch (Fisher and Yates).
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

/// In which order training images are used.
public enum ShuffleMode: String, Codable, CaseIterable, Sendable {
  /// Trax's: one fixed permutation over and over, through a shuffle queue of 1,024 slots.
  case queue
  /// A new permutation every epoch.
  case epoch
  /// The order of the files.
  case none
}
