import Collectives
import Glibc
import OpenMPI

extension RankWorker {
  /// Ends the last rank in a given way while the others are blocked in a barrier.
  static func fail(_ communicator: any Communicator, how: String) throws {
    try communicator.barrier()
    if communicator.rank == communicator.worldSize - 1 {
      switch how {
      case "trap": fatalError("the last rank traps")
      case "exit": exit(3)
      case "kill": kill(getpid(), SIGKILL)
      case "abort": communicator.abort(exitCode: 42)
      case "throw": throw CommunicationError("the last rank throws")
      case "abort-late":
        let file = fopen(CommandLine.arguments.last ?? "", "w")
        fputs("\(getpid())", file)
        fclose(file)
        sleep(3)
        communicator.abort(exitCode: 42)
      case "stop-at-end": kill(getpid(), SIGSTOP)
      case "hang": while true { sleep(1) }
      default: exit(64)
      }
    } else if how == "stop-at-end" {
      return try MPIEnvironment.finalize(limitSeconds: 3)
    }
    try communicator.barrier()
    line("rank \(communicator.rank) passed a barrier that the last rank never reached")
  }
}
