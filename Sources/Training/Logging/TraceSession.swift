import Collectives
import Foundation
import Support
import Tracing

/// The trace of a run over all ranks: aligns clocks at the start, writes one file at the end.
public final class TraceSession {
  /// The tracer of this rank's spans.
  public let tracer: Tracer
  private let path: String
  private let communicator: any Communicator
  private let host: String
  private let origin: UInt64

  /// Collective: aligns the ranks' clocks and allocates the tracks; blocks in barriers.
  ///
  /// - Parameters:
  ///   - path: The file, written by rank 0.
  ///   - host: The name of this rank's host.
  ///   - workerCount: The worker threads of this rank.
  ///   - communicator: The ranks.
  /// - Throws: `CommunicationError` if a message fails.
  public init(_ path: String, host: String, workerCount: Int, communicator: any Communicator) throws {
    self.path = path
    self.host = host
    self.communicator = communicator
    tracer = Tracer(workerCount: workerCount)
    var times: [UInt64] = []
    for _ in 0..<9 {
      try communicator.barrier()
      times.append(MonotonicClock.now())
    }
    let boot = (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? host
    let lines = try communicator.allGather(
      boot.filter { !$0.isWhitespace } + " " + times.map(String.init).joined(separator: " "))
    let words = lines.map { $0.split(separator: " ") }
    let offsets = ClockAlignment.relativeToRank0(
      times: words.map { $0.dropFirst().compactMap { UInt64($0) } }, boots: words.map { String($0.first ?? "") })
    let zero = words.first?.dropFirst().first.flatMap { UInt64($0) } ?? 0
    origin = zero &+ UInt64(bitPattern: offsets[communicator.rank])
  }

  /// Verifies that the file can be written, before a long run.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate`.
  public static func check(_ path: String) throws { try OutputFile.check(path) }

  /// Collective: gathers all ranks' spans on rank 0, which writes the file.
  ///
  /// Call it once, after all threads have stopped recording. Blocks rank 0 until all ranks have sent their spans.
  ///
  /// - Throws: `CommunicationError` if a message fails, ``CheckpointError`` on rank 0 if it cannot write.
  public func write() throws {
    let mine = ChromeTrace.events(tracer, rank: communicator.rank, host: host, origin: origin)
    let lengths = try communicator.allGather(mine.count)
    let temporary = communicator.rank == 0 ? try OutputFile.temporaryPath(for: path) : nil
    let file = try temporary.map { try OutputFile($0, OutputFile.mode($0, for: path)) }
    try file?.write(ChromeTrace.header)
    try mine.withUnsafeBytes { try file?.write($0) }
    var buffer = [UInt8]()
    for rank in lengths.indices.dropFirst() {
      try file?.write(ChromeTrace.separator)
      let messages = WorkDivision(0..<lengths[rank], itemSize: Self.messageByteCount)
      for index in 0..<messages.count {
        try move(messages[index], of: mine, from: rank, into: &buffer)
        try buffer.withUnsafeBytes { try file?.write($0) }
      }
    }
    try file?.write(ChromeTrace.footer)
    try file?.close()
    if let temporary { try OutputFile.publish(temporary, at: path) }
  }

  /// The bytes that rank 0 receives at once, which limits its memory.

  private static var messageByteCount: Int { 16 << 20 }

  /// Collective: sends a range of one rank's bytes to rank 0; the buffer is empty on the other ranks.
  private func move(
    _ range: Range<Int>, of mine: [UInt8], from rank: Int, into buffer: inout [UInt8]
  ) throws {
    let zeros = [Int](repeating: 0, count: communicator.worldSize)
    var (sendCounts, receiveCounts) = (zeros, zeros)
    if communicator.rank == rank { sendCounts[0] = range.count }
    if communicator.rank == 0 { receiveCounts[rank] = range.count }
    buffer = [UInt8](repeating: 0, count: communicator.rank == 0 ? range.count : 0)
    try mine.withUnsafeBytes { bytes in
      let send =
        communicator.rank == rank ? UnsafeRawBufferPointer(rebasing: bytes[range]) : .init(start: nil, count: 0)
      try buffer.withUnsafeMutableBytes {
        try communicator.allToAll(send, sendCounts: sendCounts, into: $0, receiveCounts: receiveCounts)
      }
    }
  }
}

extension OutputFile {
  /// Writes a text.
  func write(_ text: String) throws { try Array(text.utf8).withUnsafeBytes { try write($0) } }
}

extension Trainer {
  /// Collective: trains to the last step and writes a trace, also of a run that stopped or diverged.
  ///
  /// - Parameter trace: The trace. If `nil`, none is written.
  /// - Throws: What ``run()`` and ``TraceSession/write()`` throw.
  public func run(writing trace: TraceSession?) throws {
    do { try run() } catch {
      // These errors occur on every rank. After any other a rank is missing, and a collective would block for ever.
      let isCollective = error is TrainingStopped || error is TrainingDiverged || error is RanksDesynchronized
      if isCollective {
        try trace?.write()
      } else {
        // Messages may still target this trainer's buffers. They must live until the rank ends the job.
        _ = Unmanaged.passRetained(self)
      }
      throw error
    }
    try trace?.write()
  }
}
