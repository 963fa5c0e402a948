import Collectives
import DataParallel
import Foundation
import Models

extension TrainingConfiguration {
  /// Returns what one rank will allocate for a run, before it allocates anything.
  ///
  /// A test holds it against what a ``Trainer`` has planned.
  ///
  /// - Parameters:
  ///   - plan: The rank's part of a batch.
  ///   - engine: Computes convolutions.
  ///   - workerCount: The threads of the rank.
  ///   - rank: The rank.
  ///   - hosts: The host of every rank, as `Communicator.hosts` has them.
  /// - Returns: Bytes.
  /// - Throws: `InvalidModel` if there is no such network.
  public func plannedByteCount(
    _ plan: MicrobatchPlan, engine: any ConvolutionEngine, workerCount: Int, rank: Int,
    hosts: [Int]
  ) throws -> Int {
    let network = try modelGraph()
    let imageByteCount = network.imageSize * network.imageSize * network.imageChannels * 4
    // Three batches are in the loader's ring.
    let loader = 3 * plan.localBatchSize * (imageByteCount + 1)
    return network.weightByteCount + loader
      + plannedStepByteCount(
        network, plan, engine: engine, workerCount: workerCount, rank: rank, hosts: hosts)
      + (evalEvery == 0
        ? 0
        : plannedEvaluationByteCount(
          network, engine: engine, workerCount: workerCount,
          participates: evalRanks == .all || rank == 0))
  }

  /// The bytes of a ``TrainingStep``: its pass, the exchange between ranks, and the moments that this rank keeps.
  func plannedStepByteCount(
    _ network: ModelGraph, _ plan: MicrobatchPlan, engine: any ConvolutionEngine,
    workerCount: Int, rank: Int, hosts: [Int]
  ) -> Int {
    let pass = network.executorByteCount(
      engine: engine, workerCount: workerCount, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: plan.localMicrobatches, tree: plan.tree, scope: batchNorm, purpose: .training)
    let exchange = GradientReducer.size(
      BucketPlan(elementCount: network.parameterCount, bucketByteCount: bucketByteCount),
      tree: plan.tree, wire: wire, rank: rank, hosts: hosts)
    let moments =
      optimizerState == .sharded ? exchange.ownedElementCount : network.parameterCount
    return pass + exchange.byteCount + 4 * 2 * moments
  }

  /// Returns what an ``Evaluation`` will allocate.
  ///
  /// - Parameters:
  ///   - network: The layers.
  ///   - engine: Computes convolutions.
  ///   - workerCount: The threads of the rank.
  ///   - participates: Whether the rank computes batches.
  /// - Returns: Bytes.
  public func plannedEvaluationByteCount(
    _ network: ModelGraph, engine: any ConvolutionEngine, workerCount: Int, participates: Bool
  ) -> Int {
    let count = participates ? microbatches : 0
    let images = count * (batchSize / microbatches)
    let pass = network.executorByteCount(
      engine: engine, workerCount: workerCount, imagesPerMicrobatch: batchSize / microbatches,
      microbatches: 0..<count, tree: ReductionTree(leafCount: microbatches), scope: batchNorm,
      purpose: .inference)
    return pass + images * network.imageSize * network.imageSize * network.imageChannels * 4
  }
}

extension ModelGraph {
  /// The bytes of a ``ModelState`` without moments: parameters and running statistics.
  var weightByteCount: Int { 4 * (parameterCount + statisticsLayout.elementCount) }
}

/// The memory that a program may still take on this host: what the kernel calls available, or what is left of a control
/// group's limit (a container's, a batch job's) if that is less.
public struct HostMemory: Sendable, Hashable {
  /// Bytes.
  public let availableByteCount: Int
  /// What sets the limit, in words.
  public let limit: String

  /// Asks the system; nil if it does not say.
  ///
  /// - Parameter root: The folder that holds `proc` and `sys`, for tests.
  public init?(root: String = "/") {
    let files = SystemFiles(root: root)
    guard let available = files.field("MemAvailable", in: "proc/meminfo") else { return nil }
    // meminfo counts in units of 1024 bytes.
    let candidates =
      [(available * 1024, "available")] + files.cgroupHeadrooms.map { ($0, "left of the control group's limit") }
    guard let (bytes, words) = candidates.min(by: { $0.0 < $1.0 }) else { return nil }
    availableByteCount = bytes
    limit = words
  }
}

/// What Linux says in files about memory.
private struct SystemFiles {
  let root: String

  /// What is left of the limit of every control group that this process is in, its ancestors included.
  var cgroupHeadrooms: [Int] {
    text("proc/self/cgroup").split(separator: "\n").flatMap { line -> [Int] in
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { return [] }
      if parts[1].isEmpty {
        return rests(
          "sys/fs/cgroup", parts[2], limit: "memory.max", usage: "memory.current", cache: "inactive_file")
      }
      guard parts[1].split(separator: ",").contains("memory") else { return [] }
      return rests(
        "sys/fs/cgroup/memory", parts[2], limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes",
        cache: "total_inactive_file")
    }
  }

  /// A path that a container cannot see is skipped; its own root, which it can see, has the limit.
  private func rests(
    _ mount: String, _ path: Substring, limit: String, usage: String, cache: String
  ) -> [Int] {
    var names = path.split(separator: "/")
    var result: [Int] = []
    while true {
      let folder = ([Substring(mount)] + names).joined(separator: "/")
      if let limit = number("\(folder)/\(limit)"), let usage = number("\(folder)/\(usage)") {
        // Pages of files count as used but go when memory is wanted.
        result.append(max(0, limit - usage + (field(cache, in: "\(folder)/memory.stat") ?? 0)))
      }
      if names.popLast() == nil { return result }
    }
  }

  /// The first number behind a name at the start of a line.
  func field(_ name: String, in file: String) -> Int? {
    for line in text(file).split(separator: "\n") {
      let words = line.split { $0 == " " || $0 == ":" || $0 == "\t" }
      if words.count >= 2, words[0] == name { return Int(words[1]) }
    }
    return nil
  }

  private func number(_ file: String) -> Int? {
    Int(text(file).trimmingCharacters(in: .whitespacesAndNewlines))
  }

  private func text(_ file: String) -> String {
    (try? String(contentsOfFile: "\(root)/\(file)", encoding: .utf8)) ?? ""
  }
}
