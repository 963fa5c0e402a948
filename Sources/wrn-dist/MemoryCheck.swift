import Collectives
import Foundation
import OpenMPI
import Training

/// Refuses a run whose memory will not fit, before any of it is allocated.
enum MemoryCheck {
  /// Compares what the ranks of each host plan with what the host has left.
  ///
  /// Every rank calls it.
  ///
  /// - Parameters:
  ///   - byteCount: What this rank will allocate.
  ///   - communicator: The ranks.
  /// - Throws: ``AgreedFailure`` on every rank if it does not fit on some host.
  static func requireRoom(for byteCount: Int, _ communicator: any Communicator) throws {
    let binding = CoreBinding.current()
    let host = binding.placement.hostHash
    let record = [host, UInt64(byteCount)]
    var records = [UInt64](repeating: 0, count: record.count * communicator.worldSize)
    let counts = [Int](repeating: record.count * 8, count: communicator.worldSize)
    try record.withUnsafeBytes { send in
      try records.withUnsafeMutableBytes { receive in
        try communicator.allGather(send, into: receive, counts: counts)
      }
    }
    let here = stride(from: 0, to: records.count, by: 2).filter { records[$0] == host }
    let total = here.reduce(0) { $0 + Int(records[$1 + 1]) }
    try Ranks.together(communicator) {
      guard let memory = HostMemory(), total > memory.availableByteCount else { return }
      let fewerRanks = here.count > 1 ? ", start fewer ranks on a host" : ""
      throw StartupFailure(
        exitCode: ExitCodes.peerFailure,
        message: "\(here.count) rank(s) on \(binding.hostName) would need \(Machine.gibibytes(total)) of memory but "
          + "only \(Machine.gibibytes(memory.availableByteCount)) are \(memory.limit); lower --batch-size or "
          + "--widen-factor\(fewerRanks), or use a machine with more memory.")
    }
  }
}
