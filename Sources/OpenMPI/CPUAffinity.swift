import COpenMPI
import Collectives
import Glibc

/// The cores that this process may use, as the operating system and `mpirun`'s binding left them.
public struct CPUAffinity: Equatable, Sendable {
  /// The host's name.
  public let hostName: String
  /// The cores that this process may use.
  public let usableCores: CPUSet
  /// The cores of the host that are switched on.
  public let onlineCoreCount: Int

  /// Reads the binding of the calling process (`sched_getaffinity`).
  ///
  /// To be called from the main thread, before worker threads are bound to cores of their own.
  ///
  /// - Returns: The binding; if the system does not tell, all cores online.
  public static func current() -> CPUAffinity {
    let online = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return CPUAffinity(
      hostName: readHostName(), usableCores: readAffinity() ?? CPUSet(0..<online),
      onlineCoreCount: online)
  }

  /// What the other ranks need to know about it.
  public var placement: RankPlacement {
    RankPlacement(hostName: hostName, cores: usableCores)
  }

  /// The kernel's mask; room for 8,192 cores, more than any usual kernel is built for.
  private static func readAffinity() -> CPUSet? {
    var words = [UInt64](repeating: 0, count: 128)
    let status = words.withUnsafeMutableBytes {
      COpenMPI_sched_getaffinity(0, $0.count, $0.baseAddress)
    }
    let cores = CPUSet(words: words)
    return status == 0 && cores.count > 0 ? cores : nil
  }

  private static func readHostName() -> String {
    var characters = [CChar](repeating: 0, count: 257)
    guard gethostname(&characters, 256) == 0 else { return "localhost" }
    return String(
      decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
