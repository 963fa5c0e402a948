import Foundation
import Glibc

/// A job of several ranks under the real `mpirun`.
///
/// `mpirun` ends a job that hangs (``timeout``, exit code 110), so no test waits forever. The jobs of one test process
/// run one at a time, since concurrent jobs would only compete for cores.
public struct MPIRun: Sendable {
  /// The number of ranks.
  public var ranks: Int
  /// The executable's name in the build directory, or its full path.
  public var executable: String
  /// Its arguments.
  public var arguments: [String]
  /// Environment variables in addition to those of this process.
  public var environment: [String: String] = [:]
  /// Whether training runs compute on all ranks, also where a host has fewer cores than ranks.
  public var computesOnAllRanks = true
  /// Its working directory; `nil` for that of this process.
  public var workingFolder: String?
  /// The time after which `mpirun` ends the job.
  public var timeout: Duration = .seconds(120)
  /// The placement options; the default allows any number of ranks on any number of cores.
  public var placement = [
    "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
  ]
  /// Further options of `mpirun`.
  public var options: [String] = []

  private static let jobLock = NSLock()

  /// Creates a job.
  ///
  /// - Parameters:
  ///   - ranks: The number of ranks.
  ///   - executable: The executable's name in the build directory, or its full path.
  ///   - arguments: Its arguments.
  public init(ranks: Int, _ executable: String, _ arguments: [String] = []) {
    self.ranks = ranks
    self.executable = executable
    self.arguments = arguments
  }

  /// Runs the job to its end.
  ///
  /// - Parameter whileRunning: Called once with the process ID of `mpirun`, after its start.
  /// - Returns: The exit code of `mpirun` and the output of all ranks.
  /// - Throws: ``BuiltProducts/Missing`` or `POSIXError` if it cannot be started.
  public func run(whileRunning: (pid_t) throws -> Void = { _ in }) throws -> ProcessRun.Output {
    let program =
      executable.contains("/") ? executable : try BuiltProducts.executable(executable)
    let timeout = timeout * Sanitizer.timeFactor
    var words = ["-np", "\(ranks)"] + placement
    words += ["--timeout", "\(timeout.components.seconds)"] + options + [program] + arguments
    var variables = environment
    if computesOnAllRanks { variables["WRN_SHARED_CORES"] = "compute" }
    let job = ProcessRun(
      try BuiltProducts.installed("mpirun"), words,
      environment: Self.environment(adding: variables), workingFolder: workingFolder,
      limit: timeout + .seconds(30))
    return try Self.jobLock.withLock { try job.run(whileRunning: whileRunning) }
  }

  /// Returns the environment of a job, without variables of an outer launcher; running as root is allowed.
  ///
  /// - Parameter extra: Variables to add.
  /// - Returns: All variables.
  public static func environment(adding extra: [String: String]) -> [String: String] {
    let launchers = ["OMPI_", "PMIX_", "PMI_", "SLURM_", "PBS_"]
    var variables = ProcessInfo.processInfo.environment.filter { variable in
      !launchers.contains { variable.key.hasPrefix($0) }
    }
    if geteuid() == 0 {
      variables["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
      variables["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    }
    return variables.merging(extra) { $1 }
  }
}
