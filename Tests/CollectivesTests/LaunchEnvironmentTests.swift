import Collectives
import Testing

@Suite struct LaunchEnvironmentTests {
  @Test(arguments: [
    (["OMPI_COMM_WORLD_SIZE": "1"], true), (["PMIX_RANK": "0"], true), (["PMI_SIZE": "4"], true),
    (["PMI_RANK": "0"], true), ([:], false), (["SLURM_NTASKS": "4"], false),
    (["OMPI_COMM_WORLD_SIZE": ""], false), (["PMIX_RANK": "none"], false),
  ])
  func launchersAreDetected(variables: [String: String], launched: Bool) {
    #expect(LaunchEnvironment(variables).isLaunchedByMPI == launched)
  }

  @Test func rankAndSizeAreKnownBeforeMPIInit() {
    let mpirun = LaunchEnvironment(["OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8"])
    #expect(mpirun.rank == 3 && mpirun.worldSize == 8)
    let slurm = LaunchEnvironment(["PMI_RANK": "2", "PMI_SIZE": "4"])
    #expect(slurm.rank == 2 && slurm.worldSize == 4)
    #expect(LaunchEnvironment([:]).rank == nil)
    #expect(LaunchEnvironment([:]).worldSize == nil)
  }

  @Test(arguments: [
    ["SLURM_NTASKS": "4"], ["SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"],
    ["SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "4"], ["PMI_SIZE": "4", "PMI_RANK": "1"],
    ["MV2_COMM_WORLD_SIZE": "4"], ["PMIX_RANK": "3"],
  ])
  func silentSingletonsAreDetected(variables: [String: String]) throws {
    let problem = try #require(
      LaunchEnvironment(variables).silentSingletonProblem(worldSize: 1))
    #expect(problem.contains("this process is alone"))
    #expect(problem.contains("mpirun -np"))
    #expect(LaunchEnvironment(variables).silentSingletonProblem(worldSize: 4) == nil)
  }

  @Test func theMessageNamesTheVariableAndTheFix() {
    #expect(
      LaunchEnvironment(["SLURM_NTASKS": "4"]).silentSingletonProblem(worldSize: 1)
        == "SLURM_NTASKS is 4 but this process is alone: start it with mpirun -np 4 wrn-dist … (or "
        + "srun --mpi=pmix, if srun --mpi=list shows pmix); for a single rank say mpirun -np 1.")
  }

  @Test(arguments: [
    [:], ["SLURM_NTASKS": "1"], ["SLURM_NTASKS": "many"], ["PMIX_RANK": "0"],
    ["SLURM_NTASKS": "4", "OMPI_COMM_WORLD_SIZE": "1"],
    ["SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"],
  ])
  func intendedSingleProcessesPass(variables: [String: String]) {
    #expect(LaunchEnvironment(variables).silentSingletonProblem(worldSize: 1) == nil)
  }

  @Test func hostsAreEmulatedOnlyOnRequest() {
    #expect(LaunchEnvironment(["WRN_RANKS_PER_HOST": "2"]).emulatedRanksPerHost == 2)
    for value in ["0", "-1", "two", ""] {
      #expect(LaunchEnvironment(["WRN_RANKS_PER_HOST": value]).emulatedRanksPerHost == nil)
    }
    #expect(LaunchEnvironment([:]).emulatedRanksPerHost == nil)
  }
}
