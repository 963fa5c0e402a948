import ArgumentParser
import Collectives
import DataParallel
import Foundation
import Models
import OpenMPI
import Training

/// Times the exchange of gradients alone, against Open MPI's own all-reduce.
struct BenchmarkAllReduceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "allreduce",
    abstract: "Times the exchange of gradients against plain MPI_Allreduce.",
    discussion: """
      Runs under mpirun with two ranks or more; rank 0 prints. Both add up the same buffer and are timed alternately: the \
      exchange of a training step without the update (reduce-scatter in the fixed order of the tree, all-gather, bucket by \
      bucket), and MPI_Allreduce, which adds in any order. GB/s are the bytes that leave a rank per second, 2·(p − 1)/p of \
      the buffer for p ranks.
      """)

  @Option(help: "Numbers to add up. (default: the parameters of --widen-factor)") var elements: Int?
  @Option(help: "k, whose WRN-22-k has as many parameters as numbers are added up. (default: 1)")
  var widenFactor: Int?
  @Option(help: "Bytes exchanged at once, such as 512KiB or 4MiB. (default: 4MiB)") var bucketSize: ByteCount?
  @Option(help: "Who moves messages on while a rank computes: poll or thread.") var progress =
    ProgressMode.poll
  @Option(help: "Threads of each rank. (default: the cores it may use / the ranks sharing them)")
  var threads: Int?
  @Option(help: "Times of each kind, after three that are not timed.") var repetitions = 20
  @Flag(help: "Print one JSON object as the last line.") var json = false

  // What MPI_Allreduce counts, and then some.
  private static let elementCounts = 1...1 << 29

  func run() throws {
    try RankSession.run(progress: progress) { communicator in
      let threads = try ThreadBudget(communicator)
      let (world, count, bucket, threadCount) = try RankSession.together(communicator) {
        guard let world = communicator as? MPICommunicator, world.worldSize > 1 else {
          throw UsageError(
            "benchmark allreduce needs two ranks or more: start it as mpirun -np 2 wrn-dist benchmark allreduce."
          )
        }
        return (
          world, try elementCount(), try bucketByteCount(), try threads.count(asked: self.threads)
        )
      }
      try MemoryCheck.requireFits(
        for: AllReduceBenchmark.byteCount(elementCount: count), communicator)
      let benchmark = try AllReduceBenchmark(
        elementCount: count, bucketByteCount: bucket, threadCount: threadCount, world)
      let found = try benchmark.run(repetitions: repetitions)
      guard communicator.rank == 0 else { return }
      let report = AllReduceReport(found)
      print(json ? try report.json() : report.text)
    }
  }

  private func elementCount() throws -> Int {
    guard repetitions > 0 else { throw UsageError("--repetitions must be at least 1.") }
    if let elements {
      guard widenFactor == nil else {
        throw UsageError("give either --elements or --widen-factor, not both.")
      }
      guard Self.elementCounts.contains(elements) else {
        throw UsageError(
          "--elements \(elements) must lie between 1 and \(Self.elementCounts.upperBound).")
      }
      return elements
    }
    return try TraxWideResNet.graph(WideResNetConfiguration(depth: 22, widenFactor: widenFactor ?? 1))
      .parameterCount
  }

  private func bucketByteCount() throws -> Int {
    let count = bucketSize?.value ?? BucketPlan.defaultByteCount
    guard BucketPlan.byteCounts.contains(count) else {
      throw UsageError(
        "--bucket-size \(count) must lie between \(BucketPlan.byteCounts.lowerBound) and "
          + "\(BucketPlan.byteCounts.upperBound) bytes.")
    }
    return count
  }
}

/// A benchmark of the exchange of gradients as it is printed.
struct AllReduceReport {
  private let times: AllReduceBenchmark.Times

  /// Describes what was measured.
  init(_ times: AllReduceBenchmark.Times) { self.times = times }

  private var byteCount: Int { 4 * times.elementCount }
  /// 2·(p − 1)/p of the buffer: what any all-reduce must send.
  private var leastByteCount: Double {
    2 * Double(times.worldSize - 1) / Double(times.worldSize) * Double(byteCount)
  }
  private var exchange: Kind { Kind(times.exchange, byteCount: Double(times.sentByteCount)) }
  private var plain: Kind { Kind(times.plain, byteCount: leastByteCount) }
  private var ratio: Double { exchange.milliseconds / plain.milliseconds }

  /// Several lines for people.
  var text: String {
    """
    \(times.elementCount) numbers (\(byteCount) bytes, \(times.bucketCount) bucket(s)) over \(times.worldSize) ranks × \
    \(times.threads) thread(s) on \(times.hostCount) host(s), n = \(times.exchange.count)
    exchange in tree order  \(line(exchange)); \(times.sentByteCount) bytes sent a rank, \
    the least possible is \(Int(leastByteCount.rounded(.up)))
    MPI_Allreduce           \(line(plain))
    ratio \(String(format: "%.3f", ratio))
    """
  }

  /// One line for programs.
  ///
  /// - Throws: Nothing that occurs: all members can be encoded.
  func json() throws -> String {
    try JSONLine.render(
      Line(
        ranks: times.worldSize, hosts: times.hostCount, threads: times.threads,
        elements: times.elementCount,
        bytes: byteCount, buckets: times.bucketCount, n: times.exchange.count,
        bytesSentPerRank: times.sentByteCount,
        leastBytesSentPerRank: leastByteCount, exchange: exchange, mpiAllreduce: plain,
        ratio: ratio,
        cpu: HostInfo.cpuModel))
  }

  private func line(_ kind: Kind) -> String {
    String(
      format: "median %.3f ms (fastest %.3f, slowest %.3f), %.3f GB/s", kind.milliseconds,
      kind.millisecondsMinimum,
      kind.millisecondsMaximum, kind.gigabytesPerSecond)
  }

  private struct Kind: Encodable {
    let milliseconds: Double
    let millisecondsMinimum: Double
    let millisecondsMaximum: Double
    let gigabytesPerSecond: Double

    init(_ sorted: [Double], byteCount: Double) {
      let median = StepBenchmark.Times.median(sorted)
      milliseconds = median * 1e3
      millisecondsMinimum = sorted[0] * 1e3
      millisecondsMaximum = sorted[sorted.count - 1] * 1e3
      gigabytesPerSecond = byteCount / median / 1e9
    }
  }

  private struct Line: Encodable {
    let ranks: Int
    let hosts: Int
    let threads: Int
    let elements: Int
    let bytes: Int
    let buckets: Int
    let n: Int
    let bytesSentPerRank: Int
    let leastBytesSentPerRank: Double
    let exchange: Kind
    let mpiAllreduce: Kind
    let ratio: Double
    let cpu: String
  }
}
