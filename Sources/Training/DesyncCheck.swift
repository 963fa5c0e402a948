import Collectives
import DataParallel
import Models
import Tensors

/// Makes sure, now and then, that all ranks still hold the same numbers.
///
/// They do by construction; a damaged memory cell, a bad cable or a defect of this program can end that, and nothing else
/// would ever show it. A 64-bit hash of every tensor is cheap enough to compare each hundredth step and before each checkpoint.
final class DesyncCheck {
  /// The steps between checks.
  static let interval = 100

  private let stores: [ParameterStore]
  private let parameters: [(parameter: Parameter, store: Int)]
  private let hashes: AlignedBuffer<UInt64>
  private let pool: WorkerPool
  private let communicator: any Communicator
  private let counts: [Int]
  private var totals: [UInt64]

  /// Plans the check of parameters and running statistics; of moments each rank may hold a part of its own.
  init(_ model: ModelState, pool: WorkerPool, communicator: any Communicator) {
    stores = [model.parameters, model.runningStatistics]
    let all = stores.enumerated().flatMap { s, store in store.layout.parameters.map { (parameter: $0, store: s) } }
    parameters = all
    hashes = AlignedBuffer(count: all.count)
    self.pool = pool
    self.communicator = communicator
    counts = [Int](repeating: MemoryLayout<UInt64>.size, count: communicator.worldSize)
    totals = [UInt64](repeating: 0, count: communicator.worldSize)
  }

  /// Compares all ranks' numbers.
  ///
  /// Every rank calls it. Reads every parameter once, sends eight bytes a rank, allocates nothing.
  ///
  /// - Parameter step: The step done last.
  /// - Throws: ``RanksDesynchronized`` on every rank if any two differ; ``CommunicationError`` if the exchange fails.
  func requireEqual(step: Int) throws {
    guard communicator.worldSize > 1 else { return }
    pool.parallelFor(parameters.count, with: self) { check, i, _ in check.hash(i) }
    var total = ConsistencyDigest()
    for hash in hashes.elements { total.combine(hash) }
    try withUnsafeBytes(of: total.value) { mine in
      try totals.withUnsafeMutableBytes { try communicator.allGather(mine, into: $0, counts: counts) }
    }
    if totals.contains(where: { $0 != totals[0] }) { throw try describe(step: step) }
  }

  private func hash(_ i: Int) {
    var digest = ConsistencyDigest()
    digest.combine(UnsafeRawBufferPointer(stores[parameters[i].store][parameters[i].parameter]))
    hashes.pointer[i] = digest.value
  }

  /// Finds the first tensor that differs, and who is alone with it; every rank calls it.
  private func describe(step: Int) throws -> RanksDesynchronized {
    var tables = [UInt64](repeating: 0, count: hashes.elements.count * communicator.worldSize)
    try tables.withUnsafeMutableBytes {
      try communicator.allGather(
        UnsafeRawBufferPointer(hashes.bytes), into: $0,
        counts: [Int](repeating: hashes.bytes.count, count: communicator.worldSize))
    }
    let columns = parameters.indices.map { i in
      (0..<communicator.worldSize).map { tables[$0 * parameters.count + i] }
    }
    return RanksDesynchronized(
      step: step,
      differing: parameters.indices.filter { Set(columns[$0]).count > 1 }.map {
        (parameters[$0].parameter.name, columns[$0])
      })
  }
}

/// Ranks whose parameters or running statistics are no longer the same.
public struct RanksDesynchronized: Error, CustomStringConvertible {
  /// The step after which it was found.
  public let step: Int
  /// The first tensor that differs.
  public let tensor: String
  /// The ranks that differ from most others; all of them if there is no majority.
  public let ranks: [Int]
  private let differingCount: Int

  /// Describes what was found.
  ///
  /// - Parameters:
  ///   - step: The step done last.
  ///   - differing: Each tensor that differs with its hash on every rank, in the order of the model.
  init(step: Int, differing: [(name: String, hashes: [UInt64])]) {
    self.step = step
    differingCount = differing.count
    tensor = differing.first?.name ?? "unknown"
    let hashes = differing.first?.hashes ?? []
    let groups = Dictionary(grouping: hashes.indices) { hashes[$0] }
    let largest = groups.values.map(\.count).max() ?? 0
    let majority = groups.values.first { $0.count == largest && 2 * largest > hashes.count }
    ranks = hashes.indices.filter { !(majority?.contains($0) ?? false) }
  }

  /// One sentence: where, what, who, and how to go on.
  public var description: String {
    let more = differingCount > 1 ? " and \(differingCount - 1) more tensors" : ""
    return
      "after step \(step) \(tensor)\(more) of \(RankList.text(ranks)) differs from the other ranks', which a fault of "
      + "memory or network can cause; no checkpoint was written, start again to go on from the last one, and without that host "
      + "if it happens again."
  }
}
