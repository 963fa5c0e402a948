import ArgumentParser
import Collectives
import DataParallel
import Foundation
import Models
import OpenMPI
import Support
import Training

/// Times the gradient all-reduce alone, and Open MPI's.
struct BenchmarkAllReduceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "allreduce",
    abstract: "Times the gradient all-reduce against MPI_Allreduce.",
    discussion: """
      Runs under mpirun with two or more ranks; rank 0 prints. Both reduce the same buffer, interleaved: the gradient \
      all-reduce of a training step without the update (reduce-scatter in tree order and all-gather, bucket by bucket), and \
      MPI_Allreduce, which adds in any order. GB/s are the bytes that a rank sends per second, 2·(p − 1)/p of the buffer \
      for p ranks.
      """)

  @Option(help: "Numbers to reduce. (default: the parameters of --widen-factor)") var elements: Int?
  @Option(help: "Reduce as many numbers as WRN-22-k has parameters. (default: 1)")
  var widenFactor: Int?
  @Option(help: "\(HelpText.bucketSize). (default: 4MiB)") var bucketSize: ByteCount?
  @Option(help: "\(HelpText.progress).") var progress = ProgressMode.poll
  @Option(help: "\(HelpText.threads)")
  var threads: Int?
  @Option(help: "Timed all-reduces of each kind, after three for warm-up.") var repetitions = 20
  @Flag(help: "\(HelpText.json)") var json = false

  // MPI_Allreduce counts elements in 32 bits.
  private static let elementCounts = 1...1 << 29

  func run() throws {
    try RankSession.run(progress: progress) { communicator in
      let threads = try ThreadBudget(communicator)
      let (mpi, count, bucket, threadCount) = try RankSession.collectively(communicator) {
        guard let mpi = communicator as? MPICommunicator, mpi.worldSize > 1 else {
          throw UsageError(
            "benchmark allreduce needs two or more ranks: start it with mpirun -np 2 wrn-dist benchmark allreduce."
          )
        }
        return (
          mpi, try elementCount(), try bucketSize?.bucketByteCount() ?? BucketPlan.defaultByteCount,
          try threads.count(requested: self.threads)
        )
      }
      try MemoryCheck.requireFits(AllReduceBenchmark.byteCount(elementCount: count), communicator)
      let benchmark = try AllReduceBenchmark(
        elementCount: count, bucketByteCount: bucket, threadCount: threadCount, mpi)
      let times = try benchmark.run(repetitions: repetitions)
      guard communicator.rank == 0 else { return }
      let report = AllReduceReport(times)
      print(json ? try report.json() : report.text)
    }
  }

  private func elementCount() throws -> Int {
    guard repetitions > 0 else { throw UsageError("--repetitions must be at least 1.") }
    if let elements {
      guard widenFactor == nil else {
        throw UsageError("--elements and --widen-factor both set the number of elements; give one of them.")
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
}

/// The report of `benchmark allreduce`.
struct AllReduceReport {
  private let times: AllReduceBenchmark.Times

  /// Creates the report.
  init(_ times: AllReduceBenchmark.Times) { self.times = times }

  private var byteCount: Int { 4 * times.elementCount }
  /// 2·(p − 1)/p of the buffer: the minimum of any all-reduce.
  private var leastByteCount: Double {
    2 * Double(times.worldSize - 1) / Double(times.worldSize) * Double(byteCount)
  }
  private var treeOrder: Kind { Kind(times.treeOrder, byteCount: Double(times.sentByteCount)) }
  private var mpi: Kind { Kind(times.mpi, byteCount: leastByteCount) }
  private var ratio: Double { treeOrder.milliseconds / mpi.milliseconds }

  /// The human-readable report.
  var text: String {
    """
    \(times.elementCount) numbers (\(byteCount) bytes, \(times.bucketCount) bucket(s)) over \(times.worldSize) ranks × \
    \(times.threads) thread(s) on \(times.hostCount) host(s), n = \(times.treeOrder.count)
    all-reduce in tree order  \(line(treeOrder)); \(times.sentByteCount) bytes sent per rank, \
    the minimum is \(Int(leastByteCount.rounded(.up)))
    MPI_Allreduce             \(line(mpi))
    ratio \(String(format: "%.3f", ratio))
    """
  }

  /// The machine-readable report.
  ///
  /// - Throws: `EncodingError` for a number that JSON lacks.
  func json() throws -> String {
    try JSONLine.render(
      Line(
        ranks: times.worldSize, hosts: times.hostCount, threads: times.threads,
        elements: times.elementCount,
        bytes: byteCount, buckets: times.bucketCount, n: times.treeOrder.count,
        bytesSentPerRank: times.sentByteCount,
        leastBytesSentPerRank: leastByteCount, exchange: treeOrder, mpiAllreduce: mpi,
        ratio: ratio,
        cpu: HostInfo.cpuModel))
  }

  private func line(_ kind: Kind) -> String {
    String(
      format: "median %.3f ms (fastest %.3f, slowest %.3f), %.3f GB/s", kind.milliseconds,
      kind.millisecondsMinimum,
      kind.millisecondsMaximum, kind.gigabytesPerSecond)
  }

  // Property names of the following structures are those of `--json`.

  private struct Kind: Encodable {
    let milliseconds: Double
    let millisecondsMinimum: Double
    let millisecondsMaximum: Double
    let gigabytesPerSecond: Double

    init(_ sorted: [Double], byteCount: Double) {
      let median = sorted.median
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
