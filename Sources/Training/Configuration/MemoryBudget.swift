import Collectives
import DataParallel
import Foundation
import Models

extension TrainingConfiguration {
  /// Returns the bytes that one rank will allocate for a run, before it allocates anything.
  ///
  /// A test compares it with what a ``Trainer`` has planned.
  ///
  /// - Parameters:
  ///   - plan: The rank's share of a batch.
  ///   - engine: The convolution engine.
  ///   - workerCount: The threads of the rank.
  ///   - rank: The rank.
  ///   - hosts: The host of every rank, as `Communicator.hostOfRank` has them.
  /// - Returns: Bytes.
  /// - Throws: `InvalidModel` if there is no such network.
  public func plannedByteCount(
    _ plan: MicrobatchPlan, engine: any ConvolutionEngine, workerCount: Int, rank: Int,
    hosts: [Int]
  ) throws -> Int {
    let graph = try modelGraph()
    let largestSize = resolution.sizes[0]
    let imageByteCount = largestSize * largestSize * graph.imageChannels * 4
    let statisticsCount = graph.statisticsLayout.elementCount
    let replicated = 4 * (graph.parameterCount + statisticsCount)
    // The loader's ring holds three batches.
    let loader = 3 * plan.localBatchSize * (imageByteCount + 1)
    let estimation =
      estimatesStatistics
      ? StatisticsEstimation.byteCount(localBatchSize: plan.localBatchSize) + 4 * statisticsCount : 0
    let average = optimizer.averageDecay > 0 ? replicated : 0
    let snapshot =
      checkpointMode == .async && rank == 0
      ? CheckpointSnapshot.byteCount(
        graph, stateCount: optimizer.rule.stateNames.count, hasAverage: optimizer.averageDecay > 0) : 0
    return replicated + loader + estimation + average + snapshot
      + plannedStepByteCount(
        graph, try otherSizes(), plan, engine: engine, workerCount: workerCount, rank: rank, hosts: hosts)
      + (evalEvery == 0
        ? 0
        : plannedEvaluationByteCount(
          graph, engine: engine, workerCount: workerCount,
          participates: evalRanks == .all || rank == 0))
  }

  /// The bytes of a ``TrainingStep``: executor, gradient reducer, and the optimizer states that this rank keeps or gathers.
  private func plannedStepByteCount(
    _ graph: ModelGraph, _ otherSizes: [ModelGraph], _ plan: MicrobatchPlan, engine: any ConvolutionEngine,
    workerCount: Int, rank: Int, hosts: [Int]
  ) -> Int {
    let executor = graph.executorByteCount(
      otherSizes: otherSizes, engine: engine, workerCount: workerCount, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: plan.localMicrobatches, tree: plan.tree, scope: batchNorm, purpose: .training)
    let reducer = GradientReducer.size(
      BucketPlan(elementCount: graph.parameterCount, bucketByteCount: bucketByteCount),
      tree: plan.tree, wire: wire, rank: rank, hostOfRank: hosts)
    var elementCount =
      optimizerState == .sharded ? reducer.ownedElementCount : graph.parameterCount
    // Rank 0 holds all states at the start, and when it gathers them for a checkpoint or an average.
    if optimizerState == .sharded, hosts.count > 1, rank == 0 { elementCount += graph.parameterCount }
    // The checksums of parameters and states, one per chunk and tensor.
    let segmentCount = graph.parameterCount / BucketPlan.chunkLength + graph.parameterLayout.parameters.count
    let integrity = 8 * (optimizer.rule.stateNames.count + 2) * segmentCount
    return executor + reducer.byteCount + integrity + 4 * optimizer.rule.stateNames.count * elementCount
  }

  /// Returns the bytes that an ``Evaluation`` will allocate.
  ///
  /// - Parameters:
  ///   - graph: The layers.
  ///   - engine: The convolution engine.
  ///   - workerCount: The threads of the rank.
  ///   - participates: Whether the rank computes batches.
  /// - Returns: Bytes.
  public func plannedEvaluationByteCount(
    _ graph: ModelGraph, engine: any ConvolutionEngine, workerCount: Int, participates: Bool
  ) -> Int {
    let count = participates ? microbatches : 0
    let images = count * (batchSize / microbatches)
    let executor = graph.executorByteCount(
      engine: engine, workerCount: workerCount, imagesPerMicrobatch: batchSize / microbatches,
      microbatches: 0..<count, tree: ReductionTree(leafCount: microbatches), scope: batchNorm,
      purpose: .inference)
    let mirroredLogits = testFlip ? images * graph.classCount * 4 : 0
    return executor + images * graph.imageSize * graph.imageSize * graph.imageChannels * 4 + mirroredLogits
  }
}

/// The memory that a process may still allocate on this host.
///
/// It is what Linux calls available, or what is left of a control group's limit (a container's, a batch job's) if that is
/// less.
public struct HostMemory: Sendable, Hashable {
  /// The bytes that may still be allocated.
  public let availableByteCount: Int
  /// A description of the limit that applies.
  public let limit: String

  /// Reads the system's files; `nil` if they do not say.
  ///
  /// - Parameter root: The directory that holds `proc` and `sys`, for tests.
  public init?(root: String = "/") {
    let files = SystemFiles(root: root)
    guard let available = files.number(of: "MemAvailable", in: "proc/meminfo") else { return nil }
    // meminfo counts in units of 1024 bytes.
    let candidates =
      [(available * 1024, "available")] + files.cgroupHeadrooms.map { ($0, "left of the control group's limit") }
    guard let (bytes, limit) = candidates.min(by: { $0.0 < $1.0 }) else { return nil }
    availableByteCount = bytes
    self.limit = limit
  }
}

/// The text files in which Linux describes the machine: `/proc` and `/sys`.
package struct SystemFiles {
  private let root: String

  /// Creates a reader.
  ///
  /// - Parameter root: The directory that holds `proc` and `sys`.
  package init(root: String = "/") { self.root = root }

  /// Returns the first number after a name that is the whole first word of a line; `nil` if there is none.
  ///
  /// - Parameters:
  ///   - name: A name without blanks, for example `MemTotal`.
  ///   - file: A path below the root, for example `proc/meminfo`.
  /// - Returns: The number, in the file's unit.
  package func number(of name: String, in file: String) -> Int? {
    for line in text(file).split(separator: "\n") {
      let words = line.split { $0 == " " || $0 == ":" || $0 == "\t" }
      if words.count >= 2, words[0] == name { return Int(words[1]) }
    }
    return nil
  }

  /// Returns the text after the colon of the first line that starts with some letters; `nil` if there is none.
  ///
  /// - Parameters:
  ///   - prefix: The start of a name, which may have blanks, for example `model name`.
  ///   - file: A path below the root, for example `proc/cpuinfo`.
  /// - Returns: The text without surrounding blanks.
  package func text(afterNameStartingWith prefix: String, in file: String) -> String? {
    for line in text(file).split(separator: "\n") where line.hasPrefix(prefix) {
      let fields = line.split(separator: ":", maxSplits: 1)
      if fields.count == 2 { return fields[1].trimmingCharacters(in: .whitespaces) }
    }
    return nil
  }

  /// The bytes left of the limit of every control group of this process, its ancestors included.
  var cgroupHeadrooms: [Int] {
    text("proc/self/cgroup").split(separator: "\n").flatMap { line -> [Int] in
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { return [] }
      if fields[1].isEmpty {
        return headrooms(
          "sys/fs/cgroup", fields[2], limit: "memory.max", usage: "memory.current", cache: "inactive_file")
      }
      guard fields[1].split(separator: ",").contains("memory") else { return [] }
      return headrooms(
        "sys/fs/cgroup/memory", fields[2], limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes",
        cache: "total_inactive_file")
    }
  }

  /// Skips paths that a container cannot see; its own root, which it can see, has the limit.
  private func headrooms(
    _ mount: String, _ path: Substring, limit: String, usage: String, cache: String
  ) -> [Int] {
    var names = path.split(separator: "/")
    var result: [Int] = []
    while true {
      let directory = ([Substring(mount)] + names).joined(separator: "/")
      if let limit = number("\(directory)/\(limit)"), let usage = number("\(directory)/\(usage)") {
        // Cached file pages count as used, but Linux reclaims them when memory is needed.
        result.append(max(0, limit - usage + (number(of: cache, in: "\(directory)/memory.stat") ?? 0)))
      }
      if names.popLast() == nil { return result }
    }
  }

  private func number(_ file: String) -> Int? {
    Int(text(file).trimmingCharacters(in: .whitespacesAndNewlines))
  }

  private func text(_ file: String) -> String {
    (try? String(contentsOfFile: "\(root)/\(file)", encoding: .utf8)) ?? ""
  }
}
