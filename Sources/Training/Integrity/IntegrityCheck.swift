import Collectives
import DataParallel
import Models
import Support
import Synchronization
import Tensors

/// The check in every step that nothing that a run carries from step to step has changed in memory.
///
/// A rank computes a checksum of each block of the parameters and optimizer states that it owns when it writes them, and
/// compares it before it uses them. It computes one of what it holds of the other ranks' parameters before the next all-gather
/// overwrites them. One number per owner, one for the running statistics and the first own damage are sent with the step's
/// summary, so all ranks find damage within one step, and which rank has it.
///
/// The blocks are in a cache when they are checked, so the check costs less than 1 % of a step.
package final class IntegrityCheck {
  /// The words that a rank sends: a number per owner, one of the running statistics, and the first own damage.
  package let wordCount: Int

  private let model: ModelState
  private let states: OptimizerStateShard
  private let stateNames: [String]
  private let reducer: GradientReducer
  private let communicator: any Communicator
  private let pool: WorkerPool
  private let ownsAll: Bool
  private let segments: IntegritySegments
  private let statistics: [Parameter]
  /// For the parameters and each state, the checksums of this rank's segments when they were written.
  private let written: [AlignedBuffer<UInt64>]
  /// The checksums of all segments of the parameters before the last update.
  private let held: AlignedBuffer<UInt64>
  private let statisticsWritten: AlignedBuffer<UInt64>
  /// The lowest code of damage; 0 if there is none.
  private let firstDamage = Atomic<UInt64>(0)

  /// Allocates the checksums; ``recordAll()`` must follow when the model is complete, and again when it is replaced.
  ///
  /// - Parameters:
  ///   - model: Parameters and running statistics.
  ///   - states: The optimizer states that this rank keeps.
  ///   - stateNames: Their names.
  ///   - reducer: The reducer whose shards the ranks own.
  ///   - mode: Whether a rank updates its own shards or all parameters.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  package init(
    _ model: ModelState, states: OptimizerStateShard, stateNames: [String], reducer: GradientReducer,
    mode: OptimizerStateMode, pool: WorkerPool, communicator: any Communicator
  ) {
    self.model = model
    self.states = states
    self.stateNames = stateNames
    self.reducer = reducer
    self.pool = pool
    self.communicator = communicator
    ownsAll = mode == .replicated
    segments = IntegritySegments(model.graph.parameterLayout, shards: reducer.shards)
    statistics = model.graph.statisticsLayout.parameters
    let count = segments.count
    written = (0...stateNames.count).map { _ in AlignedBuffer(count: count) }
    held = AlignedBuffer(count: count)
    statisticsWritten = AlignedBuffer(count: max(1, statistics.count))
    wordCount = communicator.worldSize + 2
  }

  /// The bytes of the checksums.
  package var byteCount: Int { written.reduce(held.byteCount) { $0 + $1.byteCount } + statisticsWritten.byteCount }

  /// Records the checksums of everything, before the first step.
  package func recordAll() {
    for bucket in reducer.plan.buckets.indices { recordUpdate(ownElements(bucket), bucket) }
    recordStatistics()
  }

  /// Compares own parameters and states with what was written, before they are updated.
  ///
  /// Several threads may call it for disjoint elements.
  ///
  /// - Parameters:
  ///   - elements: Whole chunks of a bucket that this rank updates.
  ///   - bucket: The bucket.
  package func verifyBeforeUpdate(_ elements: Range<Int>, _ bucket: Int) {
    for segment in segments.segments(of: elements) {
      let range = segments.elements(of: segment)
      for array in written.indices where checksum(array, range, bucket) != written[array].pointer[segment] {
        note(array: array, segment)
      }
      held.pointer[segment] = written[0].pointer[segment]
    }
  }

  /// Records the checksums of updated parameters and states.
  ///
  /// Several threads may call it for disjoint elements.
  package func recordUpdate(_ elements: Range<Int>, _ bucket: Int) {
    for segment in segments.segments(of: elements) {
      let range = segments.elements(of: segment)
      for array in written.indices { written[array].pointer[segment] = checksum(array, range, bucket) }
    }
  }

  /// Records what this rank holds of a bucket's other shards, before an all-gather overwrites them.
  ///
  /// A rank that updates all parameters compares the whole bucket instead.
  package func holdBeforeAllGather(_ bucket: Int) {
    let (whole, own) = (reducer.plan.buckets[bucket], ownElements(bucket))
    guard !ownsAll else { return verify(own, bucket) }
    hold(whole.lowerBound..<own.lowerBound)
    hold(own.upperBound..<whole.upperBound)
  }

  /// Records the checksums of the running statistics after they were written.
  package func recordStatistics() {
    for (i, tensor) in statistics.enumerated() { statisticsWritten.pointer[i] = checksum(statistics: tensor) }
  }

  /// Writes the words that the other ranks receive; before the running statistics are updated.
  package func fill(_ words: UnsafeMutablePointer<UInt64>) {
    let worldSize = communicator.worldSize
    for owner in 0..<worldSize { words[owner] = 0 }
    for segment in 0..<segments.count {
      words[segments.owners[segment]] &+= BlockChecksum.mix(held.pointer[segment] &+ UInt64(segment))
    }
    var total: UInt64 = 0
    for (i, tensor) in statistics.enumerated() {
      let checksum = checksum(statistics: tensor)
      if checksum != statisticsWritten.pointer[i] { note(array: written.count, i) }
      total &+= BlockChecksum.mix(checksum &+ UInt64(i))
    }
    words[worldSize] = total
    words[worldSize + 1] = firstDamage.load(ordering: .relaxed)
  }

  /// Compares the words of all ranks; collective only if they differ.
  ///
  /// - Parameters:
  ///   - step: The step after which the damage occurred.
  ///   - words: Returns the words of a rank.
  /// - Throws: ``RanksDesynchronized`` on every rank if anything has changed; `CommunicationError` if a message fails.
  package func verify(step: Int, _ words: (Int) -> UnsafePointer<UInt64>) throws {
    let worldSize = communicator.worldSize
    let own = communicator.rank
    var isEqual = true
    for rank in 0..<worldSize {
      if words(rank)[worldSize + 1] != 0 { throw damage(step: step, words) }
      if words(rank)[worldSize] != words(own)[worldSize], isSent(words(rank)) { isEqual = false }
      for owner in 0..<worldSize where words(rank)[owner] != words(owner)[owner] {
        if isSent(words(rank)) && isSent(words(owner)) { isEqual = false }
      }
    }
    if !isEqual { throw try describe(step: step) }
  }

  /// Whether a rank has sent words: a rank that a benchmark emulates sends zeros.
  private func isSent(_ words: UnsafePointer<UInt64>) -> Bool {
    for i in 0..<wordCount where words[i] != 0 { return true }
    return false
  }

  private func damage(step: Int, _ words: (Int) -> UnsafePointer<UInt64>) -> RanksDesynchronized {
    let damaged = (0..<communicator.worldSize).filter { words($0)[wordCount - 1] != 0 }
    return RanksDesynchronized(
      step: step, tensor: name(words(damaged[0])[wordCount - 1]), ranks: damaged, hasChangedItself: true)
  }

  /// Collective: compares everything now, before a checkpoint; blocks until every rank has contributed its words.
  ///
  /// All parameters must have arrived.
  ///
  /// - Throws: ``RanksDesynchronized`` on every rank if anything has changed; `CommunicationError` if a message fails.
  package func verifyAll(step: Int) throws {
    for bucket in reducer.plan.buckets.indices {
      let (whole, own) = (reducer.plan.buckets[bucket], ownElements(bucket))
      verify(own, bucket)
      hold(whole.lowerBound..<own.lowerBound)
      hold(own.upperBound..<whole.upperBound)
    }
    var mine = [UInt64](repeating: 0, count: wordCount)
    mine.withUnsafeMutableBufferPointer { if let words = $0.baseAddress { fill(words) } }
    let all = try communicator.allGather(mine)
    try all.withUnsafeBufferPointer { words in
      guard let first = words.baseAddress else { return }
      try verify(step: step) { first + $0 * wordCount }
    }
  }

  private func ownElements(_ bucket: Int) -> Range<Int> {
    ownsAll ? reducer.plan.buckets[bucket] : reducer.ownedShard(bucket)
  }

  private func verify(_ elements: Range<Int>, _ bucket: Int) {
    let items = WorkDivision(elements: elements)
    pool.parallelFor(items.count, with: (self, bucket, items)) { context, item, _ in
      let (check, bucket, items) = context.pointee
      check.verifyBeforeUpdate(items[item], bucket)
    }
  }

  private func hold(_ elements: Range<Int>) {
    let items = WorkDivision(elements: elements)
    pool.parallelFor(items.count, with: (self, items)) { context, item, _ in
      let (check, items) = context.pointee
      for segment in check.segments.segments(of: items[item]) {
        check.held.pointer[segment] = check.checksum(0, check.segments.elements(of: segment), 0)
      }
    }
  }

  /// The checksum of elements of the parameters (array 0) or of a state.
  private func checksum(_ array: Int, _ range: Range<Int>, _ bucket: Int) -> UInt64 {
    let first =
      array == 0
      ? model.parameters.pointer + range.lowerBound
      : states.states[array - 1].pointer + states.offset(of: range.lowerBound, bucket: bucket)
    return BlockChecksum.value(first, count: range.count)
  }

  private func checksum(statistics tensor: Parameter) -> UInt64 {
    BlockChecksum.value(model.runningStatistics.pointer + tensor.range.lowerBound, count: tensor.range.count)
  }

  /// Notes damage; the lowest code counts, so that threads do not matter.
  private func note(array: Int, _ index: Int) {
    let code = UInt64(array + 1) << 48 | UInt64(index)
    // Atomic's min compares unsigned numbers as signed ones in Swift 6.3.
    var known = firstDamage.load(ordering: .relaxed)
    while known == 0 || code < known {
      let (exchanged, original) = firstDamage.weakCompareExchange(
        expected: known, desired: code, ordering: .relaxed)
      if exchanged { return }
      known = original
    }
  }

  /// The tensor of a damage's code: `head.bias`, `m.head.bias` or a running statistic.
  private func name(_ code: UInt64) -> String {
    let (array, index) = (Int(code >> 48) - 1, Int(code & 0xffff_ffff_ffff))
    guard array < written.count else { return statistics[index].name }
    return (array == 0 ? "" : stateNames[array - 1] + ".") + segments.name(of: index)
  }

  /// Collective: finds the tensor and the ranks that differ from its owner.
  private func describe(step: Int) throws -> RanksDesynchronized {
    let count = segments.count
    let all = try communicator.allGather(Array(held.elements))
    for segment in 0..<count {
      let expected = all[segments.owners[segment] * count + segment]
      let ranks = (0..<communicator.worldSize).filter { all[$0 * count + segment] != expected }
      if !ranks.isEmpty {
        return RanksDesynchronized(
          step: step, tensor: segments.name(of: segment), ranks: ranks, hasChangedItself: false)
      }
    }
    let tables = try communicator.allGather(statistics.map { checksum(statistics: $0) })
    let columns = statistics.indices.map { i in
      (statistics[i].name, (0..<communicator.worldSize).map { tables[$0 * statistics.count + i] })
    }
    return RanksDesynchronized(step: step, differing: columns.filter { Set($0.1).count > 1 })
  }
}
