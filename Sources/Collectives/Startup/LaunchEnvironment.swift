/// What the environment variables say about how this process was started.
///
/// A pure function of the variables, so that it can be asked before `MPI_Init` and tested without
/// a cluster. Variables whose value is not a number are treated as absent.
public struct LaunchEnvironment: Sendable {
  private let variables: [String: String]

  /// Reads a process's environment.
  ///
  /// - Parameter variables: All variables, as `ProcessInfo.processInfo.environment` gives them.
  public init(_ variables: [String: String]) { self.variables = variables }

  /// Tells whether a launcher stands ready to connect this process with others.
  ///
  /// True under `mpirun` and under `srun --mpi=pmix` or `pmi2`. Where it is false `MPI_Init` must
  /// not be called: it would start a daemon for a world of one.
  public var isLaunchedByMPI: Bool {
    ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE", "PMI_RANK"]
      .contains { number($0) != nil }
  }

  /// This process's rank as far as the launcher tells, for messages before `MPI_Init`.
  public var rank: Int? { firstNumber(["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"]) }

  /// The number of ranks as far as the launcher tells, for messages before `MPI_Init`.
  public var worldSize: Int? { firstNumber(["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]) }

  /// How many ranks in a row are to be taken for those of one host; nil: ask MPI.
  ///
  /// `WRN_RANKS_PER_HOST`, so that a test can see on one machine what several hosts exchange. Speed and counted bytes
  /// depend on it, results do not.
  public var emulatedRanksPerHost: Int? {
    number("WRN_RANKS_PER_HOST").flatMap { $0 > 0 ? $0 : nil }
  }

  /// Finds the silent-singleton trap: many processes were started, each believing to be alone.
  ///
  /// That happens under `srun` without MPI support, or with another MPI's `mpirun`: every process
  /// trains the whole model by itself and they overwrite each other's files. Open MPI's own
  /// `mpirun` sets `OMPI_COMM_WORLD_SIZE` and is believed, `mpirun -np 1` included. A job step's
  /// own number of tasks (`SLURM_STEP_NUM_TASKS`) outranks the job's.
  ///
  /// - Parameter worldSize: The number of ranks that the communicator reports.
  /// - Returns: One sentence with the cause and the remedy (exit code 69), or nil.
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
