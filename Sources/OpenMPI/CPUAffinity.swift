import COpenMPI
import Collectives
import Glibc

/// The cores that this process may use, after the binding by `mpirun` and other restrictions.
public struct CPUAffinity: Equatable, Sendable {
  /// The host's name.
  public let hostName: String
  /// The cores that this process may use.
  public let usableCores: CPUSet
  /// The number of online cores of the host.
  public let onlineCoreCount: Int

  /// Reads the affinity of the calling thread (`sched_getaffinity`).
  ///
  /// Call it on the main thread, before worker threads get their affinities.
  ///
  /// - Returns: The affinity; all online cores if it cannot be read.
  public static func current() -> CPUAffinity {
    let online = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return CPUAffinity(
      hostName: readHostName(), usableCores: readAffinity() ?? CPUSet(0..<online),
      onlineCoreCount: online)
  }

  /// The placement that this rank sends to the other ranks.
  public var placement: RankPlacement {
    RankPlacement(hostName: hostName, cores: usableCores)
  }

  /// The affinity mask of Linux, with room for 8,192 cores, more than any usual build supports.
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
