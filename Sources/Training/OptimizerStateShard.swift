import Collectives
import DataParallel
import Tensors

/// Which ranks keep the optimizer's states.
public enum OptimizerStateMode: String, Sendable, Codable, CaseIterable {
  /// Every rank keeps all states and updates all parameters.
  case replicated
  /// Each rank keeps the states of its shards, updates their parameters, and all ranks all-gather the parameters.
  case sharded
}

/// One rank's shard of the optimizer's states (ZeRO stage 1): its elements of all buckets, concatenated.
///
/// With one rank or replicated states it is the model's own states.
package final class OptimizerStateShard {
  /// The states, in the order of the update rule's names.
  package let states: [ParameterStore]

  private let names: [String]
  private let shards: [[Range<Int>]]
  private let communicator: any Communicator
  private let offsets: [Int]
  private let isSharded: Bool

  private static let tag = 4

  /// Allocates a rank's states, all zero unless the model's are used; does not communicate.
  ///
  /// - Parameters:
  ///   - model: The model. Unless states are sharded, its own are used, and allocated if it has none.
  ///   - names: The state names of the update rule.
  ///   - mode: Which ranks keep states.
  ///   - shards: For every bucket, the elements that each rank owns.
  ///   - communicator: The ranks.
  /// - Precondition: The model has no states of another rule.
  package init(
    _ model: ModelState, names: [String], mode: OptimizerStateMode, shards: [[Range<Int>]],
    communicator: any Communicator
  ) {
    self.names = names
    self.communicator = communicator
    self.shards = shards
    isSharded = mode == .sharded && communicator.worldSize > 1
    guard isSharded else {
      if model.optimizerStates.isEmpty { model.allocateOptimizerStates(names) }
      precondition(model.optimizerStates.map(\.name) == names, "the model has the states of another update rule")
      states = model.optimizerStates.map(\.store)
      offsets = []
      return
    }
    let own = shards.map { $0[communicator.rank] }
    offsets = own.indices.map { own[..<$0].reduce(0) { $0 + $1.count } }
    var layout = ParameterLayout()
    layout.append("shard", .bias, Shape(own.reduce(0) { $0 + $1.count }))
    states = names.map { _ in ParameterStore(layout) }
  }

  /// The bytes of the states that this rank keeps from step to step.
  package var byteCount: Int { states.reduce(0) { $0 + $1.bytes.count } }

  /// The bytes that ``gather(into:)`` allocates: on rank 0 all states, elsewhere none.
  package var gatheredByteCount: Int {
    guard isSharded, communicator.rank == 0 else { return 0 }
    return 4 * names.count * shards.joined().reduce(0) { $0 + $1.count }
  }

  /// Returns the index in every state of an element of a bucket that this rank owns.
  package func offset(of element: Int, bucket: Int) -> Int {
    isSharded ? offsets[bucket] + element - shards[bucket][communicator.rank].lowerBound : element
  }

  /// Collective: scatters the states of rank 0's model to their owners and frees the model's copy.
  ///
  /// Returns when this rank's messages are complete. If rank 0's model has no states, the shards stay as they are: zero.
  ///
  /// - Throws: `CommunicationError` if a message fails.
  package func scatter(from model: ModelState) throws {
    guard isSharded else { return }
    var hasStates: UInt8 = model.optimizerStates.isEmpty ? 0 : 1
    try withUnsafeMutableBytes(of: &hasStates) { try communicator.broadcast($0, root: 0) }
    defer { model.releaseOptimizerStates() }
    guard hasStates != 0 else { return }
    try transfer(model) { requests, whole, shard, count, owner in
      if communicator.rank == 0 {
        try requests.send(whole, count: count, to: owner, tag: Self.tag)
      } else {
        try requests.receive(into: shard, count: count, from: 0, tag: Self.tag)
      }
    } own: { whole, shard, count in
      shard.update(from: whole, count: count)
    }
  }

  /// Collective: gathers all states into rank 0's model, for a checkpoint; ``releaseGathered(_:)`` frees them.
  ///
  /// Returns when this rank's messages are complete. States that are not sharded are copied, if the model is a copy.
  ///
  /// - Parameter model: The model. If rank 0's has no states, they are allocated.
  /// - Throws: `CommunicationError` if a message fails.
  package func gather(into model: ModelState) throws {
    guard isSharded else {
      for (target, state) in zip(model.optimizerStates, states) where target.store !== state {
        target.store.copy(from: state)
      }
      return
    }
    if communicator.rank == 0, model.optimizerStates.isEmpty { model.allocateOptimizerStates(names) }
    try transfer(model) { requests, whole, shard, count, owner in
      if communicator.rank == 0 {
        try requests.receive(into: whole, count: count, from: owner, tag: Self.tag)
      } else {
        try requests.send(shard, count: count, to: 0, tag: Self.tag)
      }
    } own: { whole, shard, count in
      whole.update(from: shard, count: count)
    }
  }

  /// Frees the model's copy of gathered states.
  package func releaseGathered(_ model: ModelState) { if isSharded { model.releaseOptimizerStates() } }

  private typealias Values = UnsafeMutablePointer<Float>

  /// Starts a message per state and shard between rank 0 and the shard's owner, and waits for all.
  private func transfer(
    _ model: ModelState, message: (any RequestSet, Values, Values, Int, Int) throws -> Void,
    own: (Values, Values, Int) -> Void
  ) throws {
    let rank = communicator.rank
    let requests = communicator.makeRequestSet(
      capacity: states.count * shards.count * (rank == 0 ? communicator.worldSize - 1 : 1))
    for (index, local) in states.enumerated() {
      // Only rank 0's model has states; on the other ranks the message ignores the address.
      let whole = rank == 0 ? model.optimizerStates[index].store.pointer : local.pointer
      for (bucket, owned) in shards.enumerated() {
        for owner in owned.indices where rank == 0 || rank == owner {
          let shard = owned[owner]
          let inWhole = rank == 0 ? whole + shard.lowerBound : whole
          let inShard = owner == rank ? local.pointer + offsets[bucket] : local.pointer
          if owner == 0 {
            own(inWhole, inShard, shard.count)
          } else {
            try message(requests, inWhole, inShard, shard.count, owner)
          }
        }
      }
    }
    try communicator.wait(for: requests)
  }
}
