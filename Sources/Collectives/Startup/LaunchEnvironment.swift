/// The environment variables by which a launcher describes the job.
///
/// A pure function of the variables, so it works before `MPI_Init` and in tests without a cluster. Variables whose value
/// is not a number are treated as absent.
public struct LaunchEnvironment: Sendable {
  private let variables: [String: String]

  /// Initializes from the environment of a process.
  ///
  /// - Parameter variables: All variables, as in `ProcessInfo.processInfo.environment`.
  public init(_ variables: [String: String]) { self.variables = variables }

  /// Whether an MPI launcher started this process.
  ///
  /// True under `mpirun` and under `srun --mpi=pmix` or `pmi2`. If it is false, do not call `MPI_Init`, which would start
  /// a daemon for a world of one rank.
  public var isLaunchedByMPI: Bool {
    ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE", "PMI_RANK"]
      .contains { number($0) != nil }
  }

  /// The rank set by the launcher, for messages before `MPI_Init`; `nil` if it is unknown.
  public var rank: Int? { firstNumber(["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"]) }

  /// The number of ranks set by the launcher, for messages before `MPI_Init`; `nil` if it is unknown.
  public var worldSize: Int? { firstNumber(["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]) }

  /// The number of consecutive ranks to treat as one host (`WRN_RANKS_PER_HOST`); `nil` if MPI reports the hosts.
  ///
  /// Tests emulate several hosts on one machine with it. It affects speed and byte counts, but not results.
  public var emulatedRanksPerHost: Int? {
    number("WRN_RANKS_PER_HOST").flatMap { $0 > 0 ? $0 : nil }
  }

  /// Detects silent singletons: several processes were started, but each has a world of one rank.
  ///
  /// The cause is `srun` without MPI support, or the `mpirun` of another MPI. Every process would train the whole model,
  /// and they would overwrite each other's files. Open MPI's own `mpirun` sets `OMPI_COMM_WORLD_SIZE` and is trusted, also
  /// with `-np 1`. The number of tasks of the job step (`SLURM_STEP_NUM_TASKS`) takes precedence over the job's.
  ///
  /// - Parameter worldSize: The number of ranks that the communicator reports.
  /// - Returns: One sentence with the cause and the fix (exit code 69), or `nil`.
  public func silentSingletonProblem(worldSize: Int) -> String? {
    guard worldSize == 1, number("OMPI_COMM_WORLD_SIZE") == nil else { return nil }
    let slurm = number("SLURM_STEP_NUM_TASKS") == nil ? "SLURM_NTASKS" : "SLURM_STEP_NUM_TASKS"
    for name in [slurm, "PMI_SIZE", "MV2_COMM_WORLD_SIZE"] {
      guard let count = number(name), count > 1 else { continue }
      return
        "\(name) is \(count) but this process is alone: start it with mpirun -np \(count) "
        + "wrn-dist … (or srun --mpi=pmix, if srun --mpi=list shows pmix); for a single rank say "
        + "mpirun -np 1."
    }
    if let rank = number("PMIX_RANK"), rank > 0 {
      return
        "PMIX_RANK is \(rank) but this process is alone: Open MPI could not join the launcher's "
        + "world; start it with mpirun -np N wrn-dist …."
    }
    return nil
  }

  private func number(_ name: String) -> Int? { variables[name].flatMap { Int($0) } }

  private func firstNumber(_ names: [String]) -> Int? { names.lazy.compactMap(number).first }
}
