import Foundation

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
        cpu: Machine.cpuModel))
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
