import Collectives
import DataParallel
import Tensors

/// Who keeps the optimizer's moments.
public enum OptimizerStateMode: String, Sendable, Codable, CaseIterable {
  /// Every rank has all and updates all parameters.
  case replicated
  /// Each rank has those of its slices, updates these, and sends the parameters to the others.
  case sharded
}

/// The moments of one rank's slices of all buckets, bucket after bucket.
///
/// With one rank, and where moments are replicated, it is the model's own moments.
final class OptimizerStateShard {
  /// m of the slices.
  let first: ParameterStore
  /// v of the slices.
  let second: ParameterStore

  private let shards: [[Range<Int>]]
  private let communicator: any Communicator
  private let offsets: [Int]
  private let isSharded: Bool

  private static let tag = 4

  /// Makes a rank's moments; does not communicate.
  ///
  /// - Parameters:
  ///   - model: The model, whose moments are used as they are unless they are sharded.
  ///   - mode: Who keeps moments.
  ///   - exchange: Whose slices the ranks own.
  ///   - communicator: The ranks.
  init(
    _ model: ModelState, mode: OptimizerStateMode, exchange: GradientReducer,
    communicator: any Communicator
  ) {
    self.communicator = communicator
    shards = exchange.shards
    isSharded = mode == .sharded && communicator.worldSize > 1
    let own = exchange.shards.map { $0[communicator.rank] }
    guard isSharded else {
      first = model.firstMoment
      second = model.secondMoment
      offsets = []
      return
    }
    offsets = own.indices.map { own[..<$0].reduce(0) { $0 + $1.count } }
    var layout = ParameterLayout()
    layout.append("slices", .bias, Shape(own.reduce(0) { $0 + $1.count }))
    first = ParameterStore(layout)
    second = ParameterStore(layout)
  }

  /// The bytes of the moments that this rank keeps from step to step.
  var byteCount: Int { first.bytes.count + second.bytes.count }

  /// Where the moments of a bucket's element are.
  func place(of element: Int, bucket: Int) -> Int {
    isSharded ? offsets[bucket] + element - shards[bucket][communicator.rank].lowerBound : element
  }

  /// Hands the moments that rank 0's model holds to their owners, and gives their memory back.
  ///
  /// Every rank calls it. A model without moments stands for zeros.
  ///
  /// - Throws: ``CommunicationError`` if an exchange fails.
  func take(from model: ModelState) throws {
    guard isSharded else { return }
    var holdsMoments: UInt8 = model.firstMoment.elements.isEmpty ? 0 : 1
    try withUnsafeMutableBytes(of: &holdsMoments) { try communicator.broadcast($0, root: 0) }
    defer { model.releaseMoments() }
    guard holdsMoments != 0 else { return }
    try exchange(model) { messages, whole, shard, count, owner in
      if communicator.rank == 0 {
        try messages.send(whole, count: count, to: owner, tag: Self.tag)
      } else {
        try messages.receive(into: shard, count: count, from: 0, tag: Self.tag)
      }
    } own: { whole, shard, count in
      shard.update(from: whole, count: count)
    }
  }

  /// Brings all moments into rank 0's model, for a checkpoint; ``ModelState/releaseMoments()`` gives their memory back.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: ``CommunicationError`` if an exchange fails.
  func collect(into model: ModelState) throws {
    guard isSharded else { return }
    if communicator.rank == 0 { model.allocateMoments() }
    try exchange(model) { messages, whole, shard, count, owner in
      if communicator.rank == 0 {
        try messages.receive(into: whole, count: count, from: owner, tag: Self.tag)
      } else {
        try messages.send(shard, count: count, to: 0, tag: Self.tag)
      }
    } own: { whole, shard, count in
      whole.update(from: shard, count: count)
    }
  }

  /// Gives the memory of collected moments back.
  func releaseGathered(_ model: ModelState) { if isSharded { model.releaseMoments() } }

  private typealias Values = UnsafeMutablePointer<Float>

  /// Starts a message for every slice and moment between rank 0 and the slice's owner, and waits for all.
  private func exchange(
    _ model: ModelState, message: (any RequestSet, Values, Values, Int, Int) throws -> Void,
    own: (Values, Values, Int) -> Void
  ) throws {
    let rank = communicator.rank
    let messages = communicator.makeRequestSet(
      capacity: 2 * shards.count * (rank == 0 ? communicator.worldSize - 1 : 1))
    for (local, whole) in [(first, model.firstMoment), (second, model.secondMoment)] {
      for (bucket, owned) in shards.enumerated() {
        for owner in owned.indices where rank == 0 || rank == owner {
          let shard = owned[owner]
          // On other ranks than 0 the model has no moments, and the message does not touch them.
          let inWhole = rank == 0 ? whole.pointer + shard.lowerBound : local.pointer
          let inShard = owner == rank ? local.pointer + offsets[bucket] : local.pointer
          if owner == 0 {
            own(inWhole, inShard, shard.count)
          } else {
            try message(messages, inWhole, inShard, shard.count, owner)
          }
        }
      }
    }
    try communicator.wait(for: messages)
  }
}
