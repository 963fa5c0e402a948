import Collectives
import DataParallel
import Models
import Tensors

/// A check at intervals that all ranks still hold bitwise identical parameters.
///
/// They do by construction. A memory fault, a bad cable or a defect of this program can desynchronize ranks, and nothing
/// else would show it. A 64-bit hash of every tensor is cheap enough for every hundredth step and every checkpoint.
final class DesyncCheck {
  /// The steps between checks.
  static let interval = 100

  private let stores: [ParameterStore]
  private let parameters: [(parameter: Parameter, store: Int)]
  private let hashes: AlignedBuffer<UInt64>
  private let pool: WorkerPool
  private let communicator: any Communicator
  private var totals: [UInt64]

  /// Plans the check of parameters and running statistics; optimizer states may be sharded and are not compared.
  init(_ model: ModelState, pool: WorkerPool, communicator: any Communicator) {
    stores = model.replicatedStores
    let all = stores.enumerated().flatMap { s, store in store.layout.parameters.map { (parameter: $0, store: s) } }
    parameters = all
    hashes = AlignedBuffer(count: all.count)
    self.pool = pool
    self.communicator = communicator
    totals = [UInt64](repeating: 0, count: communicator.worldSize)
  }

  /// Collective: compares the numbers of all ranks; blocks until every rank has contributed its hash.
  ///
  /// Reads every parameter once, sends eight bytes per rank, allocates nothing.
  ///
  /// - Parameter step: The last step done.
  /// - Throws: ``RanksDesynchronized`` on every rank if any two differ; `CommunicationError` if an all-gather fails.
  func verify(step: Int) throws {
    guard communicator.worldSize > 1 else { return }
    pool.parallelFor(parameters.count, with: self) { check, i, _ in check.hash(i) }
    var total = ConsistencyDigest()
    for hash in hashes.elements { total.combine(hash) }
    try communicator.allGather(total.value, into: &totals)
    if totals.contains(where: { $0 != totals[0] }) { throw try describe(step: step) }
  }

  private func hash(_ i: Int) {
    var digest = ConsistencyDigest()
    digest.combine(UnsafeRawBufferPointer(stores[parameters[i].store][parameters[i].parameter]))
    hashes.pointer[i] = digest.value
  }

  /// Collective: finds the tensors that differ, and the ranks that differ from the majority.
  private func describe(step: Int) throws -> RanksDesynchronized {
    let tables = try communicator.allGather(Array(hashes.elements))
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

/// Ranks whose parameters or running statistics are no longer bitwise identical.
public struct RanksDesynchronized: Error, CustomStringConvertible {
  /// The step after which the check failed.
  public let step: Int
  /// The first tensor that differs.
  public let tensor: String
  /// The ranks that differ from more than half of all; all ranks if there is no such majority.
  public let ranks: [Int]
  private let differingCount: Int

  /// Finds the majority in the hashes of the first tensor.
  ///
  /// - Parameters:
  ///   - step: The last step done.
  ///   - differing: Each tensor that differs with its hash on every rank, in the model's order.
  init(step: Int, differing: [(name: String, hashes: [UInt64])]) {
    self.step = step
    differingCount = differing.count
    tensor = differing.first?.name ?? "unknown"
    let hashes = differing.first?.hashes ?? []
    let largest = RankConsistency.groups(hashes).first?.ranks ?? []
    let majority = 2 * largest.count > hashes.count ? largest : []
    ranks = hashes.indices.filter { !majority.contains($0) }
  }

  /// One sentence: after which step, which tensor and ranks, and how to continue.
  public var description: String {
    let more = differingCount > 1 ? " and \(differingCount - 1) more tensors" : ""
    return
      "after step \(step) \(tensor)\(more) of \(RankList.description(ranks)) differs from the other ranks', which a fault of "
      + "memory or network can cause; no checkpoint was written, start again to resume from the last one, and without that "
      + "host if it happens again."
  }
}
